//! The GitHub Action and the GitLab job: their scripts, run by bash with inputs as the runners give them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::SignedDuration;
use simulator::settings::Lag;

use crate::{
    command::Ran,
    mirror::{Scene, TOKYO},
};

const IMAGE: &str = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v2";

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

/// A step of the action: where its environment comes from, and its script.
struct Step {
    environment: Vec<(String, String)>,
    script: String,
}

/// The lines of a block that are indented by at least `spaces`, without these.
fn block(text: &str, spaces: usize) -> Vec<&str> {
    let indentation = " ".repeat(spaces);
    text.lines().map_while(|line| line.strip_prefix(&indentation).or_else(|| line.is_empty().then_some(""))).collect()
}

/// The steps of `action.yml`.
fn steps() -> Vec<Step> {
    let action = file("action.yml");
    let steps = action.split("    - name: ").skip(1).map(|step| {
        let environment = block(step.split_once("      env:\n").unwrap().1, 8);
        let environment = environment.iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let expression = value.strip_prefix("${{ ").and_then(|value| value.strip_suffix(" }}")).unwrap();
            (name.to_owned(), expression.to_owned())
        });
        let script = block(step.split_once("      run: |\n").unwrap().1, 8).join("\n");
        // What a runner puts into a script is a part of the script, whatever it is.
        assert!(!script.contains("${{"), "{script}");
        Step { environment: environment.collect(), script }
    });
    steps.collect()
}

/// What is in the place of a runner: a folder of programs, and the files in which the runner takes outputs.
struct Runner<'a> {
    scene: &'a Scene,
    programs: PathBuf,
}

impl<'a> Runner<'a> {
    fn new(scene: &'a Scene) -> Self {
        let programs = Path::new(scene.user.path()).join("programs");
        fs::create_dir_all(&programs).unwrap();
        Self { scene, programs }
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.programs.join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts the command on the PATH; it asks the simulated ECR.
    fn install(&self) {
        let (program, endpoint) = (env!("CARGO_BIN_EXE_ecr-lineage"), &self.scene.local.endpoint);
        self.program("ecr-lineage", &format!("exec '{program}' --endpoint-url '{endpoint}' \"$@\""));
    }

    fn bash(&self, script: &str, environment: &[(String, String)]) -> Ran {
        let mut command = Command::new("bash");
        let path = format!("{}:/usr/bin:/bin", self.programs.display());
        // As GitHub runs `shell: bash`.
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).env_clear();
        command.env("PATH", path).env("HOME", self.scene.user.path()).env("RUNNER_TEMP", self.scene.user.path());
        command.env("AWS_ACCESS_KEY_ID", "999988887777").env("AWS_SECRET_ACCESS_KEY", "local");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "eu-west-1");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs the action: the last step, and all outputs, by step and name.
    fn action(&self, inputs: &[(&str, &str)]) -> (Ran, BTreeMap<String, String>) {
        let mut known: BTreeMap<String, String> =
            inputs.iter().map(|(name, value)| (format!("inputs.{name}"), (*value).to_owned())).collect();
        known.insert("github.action_path".to_owned(), "/the/source".to_owned());
        let mut last = Ran { code: None, out: String::new(), err: String::new() };
        for (step, id) in steps().into_iter().zip(["program", "wait"]) {
            let output = self.scene.user.file("output", "");
            let value = |(name, expression): (String, String)| {
                let otherwise = if expression == "inputs.timeout" { "30m" } else { "" };
                (name, known.get(&expression).cloned().unwrap_or_else(|| otherwise.to_owned()))
            };
            let mut environment: Vec<_> = step.environment.into_iter().map(value).collect();
            environment.push(("GITHUB_OUTPUT".to_owned(), output.clone()));
            last = self.bash(&step.script, &environment);
            for line in fs::read_to_string(output).unwrap().lines() {
                let (name, value) = line.split_once('=').unwrap();
                known.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
        }
        (last, known)
    }
}

fn outputs(known: &BTreeMap<String, String>) -> [&str; 2] {
    ["arrived", "outcome"].map(|name| known.get(&format!("steps.wait.outputs.{name}")).unwrap().as_str())
}

#[test]
fn the_action_waits_and_says_how_it_ended() {
    let scene = Scene::new();
    let runner = Runner::new(&scene);
    runner.install();
    let inputs = [("image", IMAGE), ("role", "reader"), ("timeout", "1s"), ("region", "eu-west-1")];
    let (ran, known) = runner.action(&inputs);
    assert_eq!((ran.code, outputs(&known)), (Some(3), ["false", "timed-out"]), "{ran:?}");
    assert!(ran.out.contains("::error title=ECR replication::timed-out after "), "{ran:?}");

    scene.push("v2");
    scene.local.simulator.step(std::time::Duration::from_secs(60));
    // Places as people write them: commas, spaces, lines.
    for places in ["", "ap-northeast-1", "ap-northeast-1, 111122223333/eu-west-1", "\nap-northeast-1\neu-west-1\n"] {
        let (ran, known) = runner.action(&[&inputs[..], &[("in", places)]].concat());
        assert_eq!((ran.code, outputs(&known)), (Some(0), ["true", "arrived"]), "{places}: {ran:?}");
        assert!(ran.out.contains(TOKYO), "{places}: {ran:?}");
        assert!(known["steps.wait.outputs.seconds"].parse::<u32>().unwrap() < 60);
    }
    // Nothing that an input says is run, or becomes an option.
    for image in ["$(touch hacked)", "--help", "a b"] {
        let (ran, known) = runner.action(&[("image", image), ("role", "reader")]);
        assert_eq!((ran.code, outputs(&known)), (Some(2), ["false", "usage"]), "{image}: {ran:?}");
    }
}

#[test]
fn the_action_fails_as_soon_as_a_copy_failed() {
    let scene = Scene::new();
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    let runner = Runner::new(&scene);
    runner.install();
    scene.push("v2");
    scene.pass(60);
    // With the table.
    let (ran, known) = runner.action(&[("image", IMAGE), ("role", "reader"), ("table", "ecr-lineage")]);
    assert_eq!((ran.code, outputs(&known)), (Some(1), ["false", "failed"]), "{ran:?}");
}

#[test]
fn the_action_builds_the_program_from_its_own_source_if_there_is_none() {
    let scene = Scene::new();
    let runner = Runner::new(&scene);
    let built = "while [ \"$1\" != --root ]; do echo \"$1\"; shift; done >\"$RUNNER_TEMP/arguments\"
        mkdir -p \"$2/bin\"; printf '#!/bin/sh\\necho built\\n' >\"$2/bin/ecr-lineage\"; chmod +x \"$2/bin/ecr-lineage\"";
    runner.program("cargo", built);
    let (ran, known) = runner.action(&[("image", IMAGE)]);
    assert_eq!((ran.code, outputs(&known)), (Some(0), ["true", "arrived"]), "{ran:?}");
    assert!(known["steps.program.outputs.path"].ends_with("/ecr-lineage/bin/ecr-lineage"), "{known:?}");
    let arguments = fs::read_to_string(Path::new(scene.user.path()).join("arguments")).unwrap();
    assert_eq!(arguments.split_whitespace().last(), Some("/the/source/cli"), "{arguments}");
    // A program that is named is used.
    runner.program("mine", "echo mine");
    let mine = runner.programs.join("mine");
    let (ran, _) = runner.action(&[("image", IMAGE), ("program", mine.to_str().unwrap())]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "mine\n"), "{ran:?}");
}

#[test]
fn the_documented_inputs_and_outputs_are_those_of_the_action() {
    let (action, documented) = (file("action.yml"), file("docs/pipelines.md"));
    let names = |part: &str| {
        let part = action.split_once(&format!("\n{part}:\n")).unwrap().1;
        let lines = block(part, 2).into_iter().filter(|line| !line.starts_with(' ') && !line.is_empty());
        lines.map(|line| line.trim_end_matches(':').to_owned()).collect::<Vec<_>>()
    };
    for (part, count) in [("inputs", 8), ("outputs", 3)] {
        let names = names(part);
        assert_eq!(names.len(), count, "{names:?}");
        let table = documented.split_once(&format!("| {} | means |", part.trim_end_matches('s'))).unwrap().1;
        let table = table.split("\n\n").next().unwrap();
        for name in names {
            assert!(table.contains(&format!("`{name}`")), "{name} is not in {table}");
        }
    }
}

#[test]
fn the_job_for_gitlab_waits() {
    let scene = Scene::new();
    scene.local.simulator.set(|settings| settings.lag = Lag::exactly(SignedDuration::from_secs(10)));
    let runner = Runner::new(&scene);
    runner.install();
    let documented = file("docs/pipelines.md");
    let script = documented.split_once("\n  script:\n").unwrap().1;
    let script: Vec<_> = block(script, 4).into_iter().map(|line| line.strip_prefix("- ").unwrap()).collect();
    let token = scene.user.file("token", "");
    let environment = [("IMAGE", IMAGE), ("AWS_TOKEN", "token"), ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    scene.push("v2");
    scene.local.simulator.step(std::time::Duration::from_secs(60));
    let ran = runner.bash(&script.join("\n"), &environment);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains(TOKYO), "{ran:?}");
    assert_eq!(fs::read_to_string(token).unwrap(), "token");
}
