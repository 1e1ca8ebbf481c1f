//! Policies as texts: the shipped ones, their checks, their cases, and proofs.

use std::path::{Path, PathBuf};

use crate::command::User;

/// The shipped policies, as files.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/policies");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "cedar")).collect()
}

#[test]
fn every_shipped_policy_decides_its_cases_and_each_of_its_policies_decides_one() {
    let files = shipped();
    assert_eq!(files.len(), 7);
    let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let ran = User::new().run(&[&["policy", "test"][..], &files].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.ends_with(" passed, 0 failed\n") && !ran.out.contains("decides no case"), "{}", ran.out);
    let ran = User::new().run(&[&["policy", "check"][..], &files].concat());
    assert_eq!((ran.code, ran.out.lines().filter(|line| line.starts_with("● OK")).count()), (Some(0), 7), "{ran:?}");
}

#[test]
fn a_shipped_policy_is_listed_printed_and_written_but_nothing_is_overwritten() {
    let user = User::new();
    let list = user.run(&["policy", "new"]);
    insta::assert_snapshot!(list.out);
    let name = "never-release-tags";
    let text =
        std::fs::read_to_string(shipped().iter().find(|file| file.ends_with("never-release-tags.cedar")).unwrap());
    assert_eq!(user.run(&["policy", "new", name]).out, text.unwrap());
    let file = format!("{}/mine.cedar", user.path());
    let write = ["policy", "new", name, "--output", file.as_str()];
    let mut report = String::new();
    for more in [&[][..], &[], &["--force"]] {
        let ran = user.run(&[&write[..], more].concat());
        report += &format!("{:?}\n{}{}", ran.code, ran.out, ran.err);
    }
    let mut alone = user.run(&["policy", "test", &file]);
    report += &alone.out.split_off(alone.out.rfind("\n\n").unwrap());
    // The cases are not overwritten either, and then the policy is not written.
    std::fs::remove_file(&file).unwrap();
    let ran = user.run(&write);
    report += &format!("{:?}\n{}{}", ran.code, ran.out, ran.err);
    assert!(!Path::new(&file).exists());
    assert_eq!(user.run(&["policy", "new", "never-release"]).code, Some(2));
    insta::assert_snapshot!(report);
}

#[test]
fn what_can_never_match_is_printed_as_compilers_do() {
    let user = User::new();
    let file = user.file(
        "wrong.cedar",
        "@id(\"follow\")\npermit (principal == Registry::\"12345/eu-west-1\", action, resource)\n\
         when { context.cause == \"lifecycles\" && resource.repo like \"dev/*\" };\n\n\
         @id(\"keep\")\nforbid (principal, action, resource)\nwhen { resource.tags.contains(\"v*\") };\n",
    );
    let odd = user.file(
        "odd.cedar",
        "@id(\"follow\")\npermit (principal, action, resource)\n\
         when { resource.repository like \"dev\" && principal.region == \"eu-wset-1\" };\n",
    );
    let ran = user.run(&["policy", "check", &file, &odd]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_case_that_fails_says_what_was_expected_and_why_not() {
    let user = User::new();
    let policy = "@id(\"follow\") @grace(\"7d\")\npermit (principal, action == Action::\"delete\", resource);\n\n\
                  @id(\"never-releases\")\nforbid (principal, action, resource)\n\
                  when { resource.tagLine like \"* v*\" };\n\n\
                  @id(\"never-mirrored\")\nforbid (principal, action, resource)\nwhen { context.cause == \"mirror\" };\n";
    let file = user.file("mine.cedar", policy);
    let mut report = String::new();
    for cases in [
        r#"[
  {"name": "goes", "action": "delete", "policies": ["follow"], "grace": "7d", "approval": false},
  {"name": "a release goes", "facts": {"tags": ["v1"]}, "action": "delete", "policies": ["follow"]},
  {"name": "goes after a day", "action": "delete", "grace": "24h"},
  {"name": "needs approval", "action": "delete", "approval": true},
  {"name": "who expired it", "facts": {"cause": "lifecycle", "deletedBy": "Ann"}, "action": "keep"}
]"#,
        r#"[{"name": "a typo", "facts": {"repo": "team/app"}, "action": "keep"}]"#,
        "[\n  {\"name\": \"a typo\", \"facts\": {\"cause\": \"lifecycles\"}, \"action\": \"keep\"}]",
        r#"[{"name": "a time", "facts": {"lastPulledAt": "yesterday"}, "action": "keep"}]"#,
        "[]",
    ] {
        user.file("mine.test.json", cases);
        let ran = user.run(&["policy", "test", &file]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        report += &(ran.out + &ran.err + "---\n");
    }
    std::fs::remove_file(format!("{}/mine.test.json", user.path())).unwrap();
    let ran = user.run(&["policy", "test", &file]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    report += &(ran.out + "---\n");
    let broken = user.file("broken.cedar", "permit (principal, action, resource);");
    let ran = user.run(&["policy", "test", &broken]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    insta::assert_snapshot!(report + &ran.out);
}

#[cfg(not(feature = "prove"))]
#[test]
fn a_proof_needs_a_program_that_can_prove() {
    let ran = User::new().run(&["policy", "prove", "mine.cedar", "--never", "true"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.err,
        "error: this program was built without the feature `prove`\n\
         next:  build it with `cargo install --path cli --features prove`\n"
    );
}

#[cfg(feature = "prove")]
mod prove {
    use super::*;

    const RELEASES_DELETED: &str = r#"action == Action::"delete" && resource.tagLine like "* release-*""#;

    fn prove(file: &str, never: &str) -> (Option<i32>, String) {
        let solver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/prove/cvc5");
        let arguments = ["policy", "prove", file, "--never", never, "--solver", solver.to_str().unwrap()];
        let ran = User::new().run(&arguments);
        (ran.code, format!("$ policy prove … --never '{never}'\n{}{}\n", ran.out, ran.err))
    }

    fn shipped_file(name: &str) -> String {
        let file = shipped().into_iter().find(|file| file.file_stem().unwrap() == name).unwrap();
        file.to_str().unwrap().to_owned()
    }

    #[test]
    fn what_the_shipped_policies_say_is_proven() {
        for (name, never) in [
            ("keep-everything", "true"),
            ("dev-follows-its-source", r#"!(resource.repository like "dev/*")"#),
            ("dev-follows-its-source", r#"action == Action::"delete" && !resource.replicaOnlyTags.isEmpty()"#),
            ("lifecycle-follows-people-need-approval", r#"context.cause == "repository""#),
            ("archive-instead-of-delete", r#"action == Action::"delete""#),
            ("never-release-tags", RELEASES_DELETED),
            ("never-release-tags", r#"action == Action::"delete" && resource.tags.contains("latest")"#),
            ("never-release-tags", r#"context has tag && context.tag like "release-*""#),
            ("never-pulled-recently", "resource has lastPulledAt && resource.lastPulledAt == context.now"),
            ("never-the-last-copy", r#"context.otherCopies == 0 && action == Action::"delete""#),
        ] {
            let (code, said) = prove(&shipped_file(name), never);
            assert_eq!(code, Some(0), "{name}: {said}");
        }
    }

    #[test]
    fn what_is_not_so_has_a_counterexample() {
        let user = User::new();
        // The space before the pattern is missing, so that only the first tag counts.
        let wrong = user.file(
            "wrong.cedar",
            "@id(\"follow\") permit (principal, action, resource);\n\
             @id(\"keep\") forbid (principal, action, resource) when { resource.tagLine like \" release-*\" };",
        );
        let (code, said) = prove(&wrong, RELEASES_DELETED);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("✗ not so: delete is permitted by follow"), "{said}");
        assert!(
            said.contains("resource.tagLine == \"") && said.contains("✓ proven: never permitted for archive"),
            "{said}"
        );
        for (never, says) in [
            ("resource.tag == \"v1\"", "1:1: attribute `tag` on entity type `Replica` not found; did you mean `tags`?"),
            ("true }; @id(\"b\") permit (principal, action, resource) when { true", "more than one expression"),
        ] {
            let (code, said) = prove(&wrong, never);
            assert!(code == Some(1) && said.contains(says), "{said}");
        }
    }

    #[test]
    fn a_missing_or_old_solver_is_one_clear_line() {
        let user = User::new();
        let policy = shipped_file("keep-everything");
        let old = user.file("old", "#!/bin/sh\necho This is cvc5 version 1.0.3\n");
        let other = user.file("other", "#!/bin/sh\necho Z3 version 4.8.12\n");
        for script in [&old, &other] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut report = String::new();
        for solver in [old.as_str(), other.as_str(), "no/such/cvc5"] {
            let ran = user.run(&["policy", "prove", &policy, "--never", "true", "--solver", solver]);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            report += &ran.err;
        }
        assert_eq!(
            report,
            "error: cvc5 1.0.3 is too old\n\
             next:  install cvc5 1.3.1 or newer (https://cvc5.github.io), and name it with `--solver` or `CVC5`\n\
             error: `FOLDER/other` is not cvc5: it does not say its version\n\
             next:  install cvc5 1.3.1 or newer (https://cvc5.github.io), and name it with `--solver` or `CVC5`\n\
             error: cannot run the solver `no/such/cvc5`: No such file or directory (os error 2)\n\
             next:  install cvc5 1.3.1 or newer (https://cvc5.github.io), and name it with `--solver` or `CVC5`\n"
        );
    }
}
