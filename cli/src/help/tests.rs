use std::collections::BTreeSet;

use super::*;

/// Every command that has no commands below it, with its path, such as `breaker reset`.
fn leaves(command: &Command, above: &str) -> Vec<(String, Command)> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help").flat_map(|below| {
        let path = format!("{above}{}", below.get_name());
        if below.has_subcommands() { leaves(below, &format!("{path} ")) } else { vec![(path, below.clone())] }
    });
    below.collect()
}

/// The words of a command line, as a shell splits it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words
}

#[test]
fn every_command_is_in_one_group() {
    let root = Options::command();
    let commands: BTreeSet<_> = root.get_subcommands().map(Command::get_name).collect();
    let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    for name in &commands {
        let count = grouped.iter().filter(|grouped| *grouped == name).count();
        assert_eq!(count, 1, "`{name}` is in {count} groups: name it once in GROUPS of cli/src/help.rs");
    }
    for name in grouped.iter().filter(|name| **name != "help") {
        assert!(commands.contains(name), "GROUPS of cli/src/help.rs names `{name}`, which is no command");
    }
}

#[test]
fn every_command_has_an_example_and_each_example_is_a_command_line_that_parses() {
    let root = command(&Arc::default());
    let leaves = leaves(&root, "");
    for (path, _) in &leaves {
        let examples = examples_of(path);
        assert!(!examples.is_empty(), "`{path}` has no example: write one in EXAMPLES of cli/src/help/examples.rs");
        for example in examples {
            assert!(example.starts_with(&format!("ecr-lineage {path}")) || example.contains("--table"), "{example}");
            let line = example.split(" | ").next().unwrap();
            let matches = root.clone().try_get_matches_from(words(line));
            let options = matches.and_then(|matches| Options::from_arg_matches(&matches));
            assert!(options.is_ok(), "example of `{path}`: {example}\n{}", options.unwrap_err());
        }
    }
    for (path, _) in EXAMPLES {
        assert!(leaves.iter().any(|(leaf, _)| leaf == path), "EXAMPLES names `{path}`, which is no command");
    }
}

#[test]
fn help_fits_into_80_columns_and_each_command_has_one_short_line() {
    let mut root = command(&Arc::default()).term_width(80);
    for (help, name) in [(root.render_help(), "-h"), (root.render_long_help(), "--help")] {
        for line in help.to_string().lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
    for (path, command) in leaves(&root, "") {
        let about = command.get_about().unwrap().to_string();
        assert!(about.chars().count() <= 80 - NAMES - 2, "`{path}`: {about}");
    }
}

#[test]
fn completions_and_pages_know_every_command() {
    let root = command(&Arc::default());
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut root.clone(), "ecr-lineage", &mut script);
        let script = String::from_utf8(script).unwrap();
        for (path, _) in leaves(&root, "") {
            let name = path.rsplit(' ').next().unwrap();
            assert!(script.contains(name), "{shell} does not know `{path}`");
        }
    }
    let mut built = root.clone().disable_help_subcommand(true);
    built.build();
    let mut pages = Vec::new();
    every_page(&built, &mut pages).unwrap();
    for (path, _) in leaves(&root, "") {
        let name = format!("ecr-lineage-{}.1", path.replace(' ', "-"));
        let page = pages.iter().find(|(file, _)| *file == name).map(|(_, page)| String::from_utf8_lossy(page));
        let page = page.unwrap_or_else(|| panic!("no page {name}"));
        assert!(page.contains("Examples") && page.contains("Exit codes"), "{name}");
    }
}
