use std::{collections::BTreeSet, path::Path};

/// The IDs of facts in a text: a letter and a number, as in `R4`.
fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |word: &&str| {
        let (letter, number) = word.split_at_checked(1).unwrap_or_default();
        !number.is_empty() && "ABCDEIKLPRSTU".contains(letter) && number.bytes().all(|b| b.is_ascii_digit())
    };
    words.filter(is_id).map(str::to_owned).collect()
}

fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            // Only comments name facts.
            found.extend(
                text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| format!("{comment}\n")),
            );
        }
    }
}

#[test]
fn the_code_names_exactly_the_facts_of_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join("FACTS.md")).unwrap();
    // An item of a list, or a row of a table.
    let id = |line: &str| {
        let line = line.strip_prefix("- **").or_else(|| line.strip_prefix("| "))?;
        line.split(['*', ' ']).next().map(str::to_owned)
    };
    let listed = ids(&list.lines().filter_map(id).collect::<Vec<_>>().join(" "));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    assert_eq!(ids(&code), listed);
}
