//! What a key of the table is about, in the words of the product, for messages.

/// The partitions whose key is one word, and the indexes.
const NAMED: [(&str, &str); 12] = [
    ("registries", "the known registries"),
    ("controls", "the pauses and holds"),
    ("usage", "the lists of images in use"),
    ("incidents", "the incidents"),
    ("heartbeats", "the heartbeats"),
    ("drills", "the last restore drill"),
    ("runs", "the runs of `reconcile`"),
    ("mirror", "the state of `mirror`"),
    ("watch", "the state of `watch`"),
    ("reconcile", "the state of `reconcile`"),
    ("due-index", "the work items that are due"),
    ("deletion-index", "the list of deletions"),
];

/// What an item, or a partition, is about: its key is a partition key, a sort key, or both with a space between. A text
/// that is no key stays as it is.
pub(super) fn words(key: &str) -> String {
    let (pk, sk) = key.split_once(' ').unwrap_or((key, ""));
    if let Some((_, words)) = NAMED.iter().find(|(name, _)| *name == pk) {
        return match pk {
            "registries" | "heartbeats" | "runs" if !sk.is_empty() => format!("{words}: {sk}"),
            _ => (*words).to_owned(),
        };
    }
    let Some((kind, name)) = pk.split_once('#') else { return key.to_owned() };
    let first = name.split('#').next().unwrap_or_default();
    match (kind, sk.split_once('#')) {
        ("image", Some(("placement", place))) => format!("where `{name}` is: {}", first_of(place)),
        ("image", Some(("deletion", place))) => format!("the deletion of `{name}` in {}", first_of(place)),
        ("image", _) => format!("the lineage of `{name}`"),
        ("repository", _) => format!("the events of repository `{name}`"),
        ("registry", _) => format!("the events of registry {name}"),
        ("tag", _) => format!("the history of tag `{name}`"),
        ("breaker", _) => format!("the circuit breaker of {name}"),
        ("act", _) => format!("the operators' acts of {name}"),
        ("inventory", _) => format!("the sizes and last pulls in {name}"),
        ("alert", _) => format!("the alerts of {name}"),
        ("tasks", _) => format!("the last listing of {name}"),
        // Sort keys alone.
        ("placement", _) => format!("where an image is: {first}"),
        ("deletion", _) => format!("a deletion in {first}"),
        ("expect", _) => format!("the expected replicas of a push to {first}"),
        ("loss" | "failure" | "replica-deleted", _) => format!("a work item of {first}"),
        ("count", _) => "what a circuit breaker counted".to_owned(),
        ("pause", _) => "a pause".to_owned(),
        ("hold", _) => "a hold".to_owned(),
        ("list", _) => "a list of images in use".to_owned(),
        ("response", _) => "what operators said about an incident".to_owned(),
        _ => key.replace('#', " "),
    }
}

fn first_of(text: &str) -> &str {
    text.split('#').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of every item, from the table that documents them.
    #[test]
    fn no_message_has_a_key_of_the_table() {
        let page = include_str!("../../../docs/table.md");
        let rows = page.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 4);
        let mut count = 0;
        for row in rows {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let (pk, sk) = (cells[2], cells[3]);
            let (pk, sk) = (pk.replace(' ', "-"), sk.replace(' ', "-"));
            for key in [pk.clone(), sk.clone(), format!("{pk} {sk}")] {
                let words = words(&key);
                assert!(!words.contains('#'), "{key}: {words}");
            }
            if pk.contains('#') {
                assert!(words(&pk).starts_with("the "), "`{pk}` has no words: {}", words(&pk));
            }
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn a_message_says_what_was_read() {
        let image = "prod/api@sha256:4d6a";
        for (key, said) in [
            ("alert#2026-11-26", "the alerts of 2026-11-26"),
            ("registries 111122223333/eu-west-1", "the known registries: 111122223333/eu-west-1"),
            (&format!("image#{image}"), &format!("the lineage of `{image}`")),
            (
                &format!("image#{image} deletion#111122223333/us-east-1#v1"),
                &format!("the deletion of `{image}` in 111122223333/us-east-1"),
            ),
            ("the images of 111122223333/eu-west-1", "the images of 111122223333/eu-west-1"),
        ] {
            assert_eq!(words(key), said);
        }
    }
}
