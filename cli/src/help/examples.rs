//! Examples and exit codes of each command.

/// Examples of each command: command lines that work as they are, up to names.
pub(super) const EXAMPLES: &[(&str, &[&str])] = &[
    ("show", &["ecr-lineage show prod/api:v1.4.2", "ecr-lineage show prod/api@4d6a --format mermaid"]),
    ("where", &["ecr-lineage where prod/api:v1.4.2", "ecr-lineage where prod/api:v1.4.2 --in ap-northeast-1"]),
    (
        "wait",
        &[
            "ecr-lineage wait prod/api:v1.4.2 --timeout 45m",
            "ecr-lineage wait --table memory 111122223333.dkr.ecr.eu-west-1.amazonaws.com/prod/api:v1.4.2",
        ],
    ),
    ("history", &["ecr-lineage history prod/api:latest --registry 111122223333/us-east-1"]),
    ("images", &["ecr-lineage images prod/api", "ecr-lineage images prod/api --not-in 111122223333/us-east-1"]),
    ("open", &["ecr-lineage open prod/api:v1.4.2", "ecr-lineage open --page https://lineage.example.com/ --print"]),
    ("orphans", &["ecr-lineage orphans", "ecr-lineage orphans --registry 111122223333/us-east-1 --output orphans.txt"]),
    ("lag", &["ecr-lineage lag --since 2026-10-01 --until 2026-11-01", "ecr-lineage lag --repository prod/api"]),
    ("alerts", &["ecr-lineage alerts --since 2026-11-01", "ecr-lineage alerts --open --watch"]),
    ("acknowledge", &["ecr-lineage acknowledge 1f2e3d4c --reason 'ticket 7'"]),
    ("snooze", &["ecr-lineage snooze 1f2e3d4c --until 12h --reason 'ticket 7'"]),
    ("drift", &["ecr-lineage drift --repository prod/api", "ecr-lineage drift --quiet"]),
    ("costs", &["ecr-lineage costs --repository 'prod/*'", "ecr-lineage costs --not-pulled 90d --prices prices.json"]),
    (
        "activity",
        &[
            "ecr-lineage activity --actor arn:aws:iam::111122223333:role/ci --kind image_deleted,tags_deleted --since 90d",
            "ecr-lineage activity --repository 'prod/*' --format csv --output activity.csv",
        ],
    ),
    ("deletions", &["ecr-lineage deletions --kept --since 7d", "ecr-lineage deletions --until 24h"]),
    (
        "audit lifecycle",
        &[
            "ecr-lineage audit lifecycle --source 111122223333/eu-west-1 --repository prod/api --lifecycle lifecycle.json",
        ],
    ),
    (
        "audit native-deletes",
        &["ecr-lineage audit native-deletes --source 111122223333/eu-west-1 --role ecr-lineage-read"],
    ),
    (
        "ingest",
        &[
            "ecr-lineage ingest trail/",
            "ecr-lineage --table memory ingest examples/release.jsonl --show shop/api:v1.4.1",
        ],
    ),
    ("reconcile", &["ecr-lineage reconcile 111122223333/eu-west-1 --role ecr-lineage-read"]),
    ("backfill", &["ecr-lineage backfill 111122223333/eu-west-1 111122223333/us-east-1 --yes"]),
    ("registry forget", &["ecr-lineage registry forget 444455556666/eu-west-1 --reason 'account closed'"]),
    (
        "pause",
        &["ecr-lineage pause --reason 'incident 7'", "ecr-lineage pause --source 111122223333/eu-west-1 --until 12h"],
    ),
    ("resume", &["ecr-lineage resume", "ecr-lineage resume --source 111122223333/eu-west-1"]),
    (
        "hold",
        &[
            "ecr-lineage hold 'prod/*' --until 2027-01-31 --reason 'release freeze'",
            "ecr-lineage hold prod/api:v1.4.2 --reason audit",
        ],
    ),
    ("holds", &["ecr-lineage holds"]),
    ("release", &["ecr-lineage release 'prod/*' --reason 'the freeze is over'"]),
    (
        "approve",
        &[
            "ecr-lineage approve prod/api:v1.4.2 --reason 'ticket 7'",
            "ecr-lineage approve --repository 'staging/*' --older-than 2d --yes",
        ],
    ),
    ("cancel", &["ecr-lineage cancel prod/api:v1.4.2 --registry 111122223333/us-east-1"]),
    ("retry", &["ecr-lineage retry prod/api:v1.4.2"]),
    (
        "usage import",
        &[
            "ecr-lineage usage import pods.json --name prod-cluster --until 12h",
            "ecr-lineage usage import tills.txt --name tills",
        ],
    ),
    ("usage lists", &["ecr-lineage usage lists"]),
    ("usage remove", &["ecr-lineage usage remove tills"]),
    ("breaker status", &["ecr-lineage breaker status", "ecr-lineage breaker status 111122223333/eu-west-1"]),
    ("breaker reset", &["ecr-lineage breaker reset 111122223333/eu-west-1 --allow 50"]),
    (
        "restore",
        &[
            "ecr-lineage restore prod/api:v1.4.2 --registry 111122223333/us-east-1",
            "ecr-lineage restore --drill --count 20 --since 30d",
        ],
    ),
    ("policy new", &["ecr-lineage policy new", "ecr-lineage policy new never-release-tags --output mine.cedar"]),
    ("policy check", &["ecr-lineage policy check infra/policies/never-release-tags.cedar"]),
    ("policy test", &["ecr-lineage policy test mine.cedar"]),
    (
        "policy prove",
        &[
            r#"ecr-lineage policy prove mine.cedar --never 'action == Action::"delete" && resource.tagLine like "* release-*"'"#,
        ],
    ),
    ("policy diff", &["ecr-lineage policy diff deployed.cedar mine.cedar --since 90d"]),
    (
        "policy deploy",
        &["ecr-lineage policy deploy mine.cedar --table TABLE --region eu-central-1 --role ecr-lineage-read"],
    ),
    ("policy preview", &["ecr-lineage policy preview mine.cedar --since 2026-11-01 --role ecr-lineage-read"]),
    ("policy explain", &["ecr-lineage policy explain prod/api:v1.4.2 --registry 111122223333/us-east-1"]),
    (
        "deploy plan",
        &["ecr-lineage deploy plan --hub 999988887777/eu-central-1 --organization o-a1b2c3d4e5 111122223333/eu-west-1"],
    ),
    ("doctor", &["ecr-lineage doctor --stack ecr-lineage --region eu-central-1 --role ecr-lineage-read"]),
    ("serve", &["ecr-lineage serve", "ecr-lineage serve --port 0 --allow-changes"]),
    ("completions", &["ecr-lineage completions bash --output ~/.local/share/bash-completion/completions/ecr-lineage"]),
    ("man", &["ecr-lineage man breaker reset | man -l -", "ecr-lineage man --all ~/.local/share/man/man1"]),
    ("schema", &["ecr-lineage schema", "ecr-lineage schema orphans --output orphans.schema.json"]),
    ("demo", &["ecr-lineage demo"]),
    ("local", &["ecr-lineage local", "ecr-lineage local --data state --policy mine.cedar --lag 30s --trouble lost=2"]),
];

/// What each exit code of a command means, a line each.
pub(super) fn exit_codes(path: &str) -> String {
    let (good, bad) = match path {
        "where" => ("the image is where it should be", "it is not, or it is unknown where it should be"),
        "wait" => ("the image is everywhere", "a copy failed or was deleted, or ECR or the table cannot be asked"),
        "alerts" | "drift" | "lag" | "orphans" => {
            ("answered; with `--quiet`: nothing is wrong", "unknown, or failed; with `--quiet`: something is wrong")
        }
        "doctor" => ("nothing needs a fix", "something needs a fix, or could not be read"),
        "deploy plan" => ("every registry was read", "a registry could not be read"),
        "ingest" => ("every entry was recorded or is known", "an entry was rejected, or the command failed"),
        "backfill" => ("every image was copied", "not all were copied, or the command failed"),
        "policy check" => ("every policy can be used", "a policy has an error"),
        "policy test" => ("every case is decided as expected", "a case is not"),
        "policy prove" => ("proven", "a request is permitted, or nothing is proven"),
        "restore" => ("found, or restored", "an image could not be brought back, or the command failed"),
        _ => ("success", "failed; nothing was done that is not said"),
    };
    let timed_out = if path == "wait" { "  3  the time is over\n" } else { "" };
    format!("  0  {good}\n  1  {bad}\n  2  the command line is wrong\n{timed_out}")
}
