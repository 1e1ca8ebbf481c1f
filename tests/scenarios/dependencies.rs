//! Which crate may depend on which, and that README's two commands compile external crates with the same features.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// The crates of this workspace, and those that each must depend on. Any other dependency, or a missing one, fails.
const ALLOWED: &str = "
    domain      ->
    policy      -> domain
    retry       ->
    aws         -> domain retry
    store       -> domain retry
    decide      -> domain policy retry aws store
    answers     -> domain policy retry aws store decide
    simulator   -> domain

    record      -> domain retry aws store
    watch       -> domain retry aws store
    reconcile   -> domain retry aws store
    mirror      -> domain policy retry aws store decide
    alert       -> retry aws store
    query       -> domain policy retry aws store decide answers

    sandbox     -> domain policy aws store decide answers simulator record watch reconcile mirror query
    cli         -> domain policy retry aws store decide answers simulator record reconcile query sandbox
    benchmarks  -> domain aws store simulator record query sandbox
    tests       ->
";

/// All external dependencies of the pure crates: no async runtime, no SDK, no file or network access.
const PURE: &str = "
    domain      -> jiff serde serde_json sha2 thiserror utoipa
    policy      -> cedar-policy cedar-policy-core jiff miette serde strsim thiserror utoipa
";

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn arrows(table: &str) -> Arrows {
    let lines = table.lines().filter_map(|line| line.split_once("->"));
    lines.map(|(from, to)| (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect())).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(arguments)
        .args(["--offline", "--locked"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of this workspace with their folders, and the dependencies of each, except for its tests.
fn manifests() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let folder = package["manifest_path"].as_str().unwrap().strip_prefix(root).unwrap();
        let folder = folder.trim_start_matches(['/', '\\']).split(['/', '\\']).next().unwrap();
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|one| one["kind"].is_null());
        let names = normal.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().to_owned(), (folder.to_owned(), names))
    });
    packages.collect()
}

#[test]
fn each_crate_depends_on_exactly_the_allowed_crates() {
    let manifests = manifests();
    let ours = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter(|name| manifests.contains_key(*name)).cloned().collect()
    };
    let found: Arrows = manifests.iter().map(|(name, (_, names))| (name.clone(), ours(names))).collect();
    let allowed = arrows(ALLOWED);
    assert_eq!(found.keys().collect::<Vec<_>>(), allowed.keys().collect::<Vec<_>>(), "crates");
    for (name, found) in &found {
        let allowed = &allowed[name];
        let [superfluous, missing] = [(found, allowed), (allowed, found)]
            .map(|(these, those)| these.difference(those).cloned().collect::<Vec<_>>().join(" "));
        assert!(superfluous.is_empty(), "`{name}` depends on {superfluous}, which the table does not allow");
        assert!(missing.is_empty(), "`{name}` does not depend on {missing}: take it out of the table");
    }
    let functions: BTreeSet<_> =
        manifests.iter().filter(|(_, (folder, _))| folder == "functions").map(|(name, _)| name.clone()).collect();
    for function in &functions {
        let others: Vec<_> = found[function].intersection(&functions).collect();
        assert!(others.is_empty(), "the function `{function}` depends on the function {others:?}");
    }
    for (name, allowed) in arrows(PURE) {
        let others: BTreeSet<_> =
            manifests[&name].1.iter().filter(|other| !manifests.contains_key(*other)).cloned().collect();
        assert_eq!(others, allowed, "`{name}`");
    }
}

/// Each external crate, with the sets of features with which it is compiled.
fn features(arguments: &[&str]) -> Arrows {
    let tree = cargo(&[&["tree", "--prefix", "none", "--format", "{p}|{f}"], arguments].concat());
    let mut features = Arrows::new();
    for line in tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|')) {
        // Cargo prints a path after the crates of this workspace.
        if !line.0.contains(" (/") {
            features.entry(line.0.to_owned()).or_default().insert(line.1.to_owned());
        }
    }
    features
}

/// Without a person's credentials the demo needs no clients of SSO: they take longer to compile than this does twice.
const COMPILED_TWICE: &str = "aws-config";

#[test]
fn the_tests_reuse_the_external_crates_that_the_demo_compiled() {
    let demo = features(&["--package", "cli", "--no-default-features", "--edges", "normal,build"]);
    let tests = features(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(demo.len() > 100, "{}", demo.len());
    for (name, features) in demo.into_iter().filter(|(name, _)| !name.starts_with(COMPILED_TWICE)) {
        let again = features.difference(&tests[&name]).next();
        // `cli/Cargo.toml` explains how to fix it.
        assert_eq!(again, None, "`{name}` has other features in `cargo test --workspace`: {:?}", tests[&name]);
    }
}
