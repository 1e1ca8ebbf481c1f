use crate::command::{User, sample};

/// Every mistake leads to one line that names what is wrong, and one that names the next step.
#[test]
fn a_mistake_gets_one_clear_line_and_a_next_step() {
    let user = User::with_example();
    let mut report = String::new();
    let nothing_there = format!("sha256:{}", "0".repeat(64));
    let no_table = user.file("notes.db", "these are notes, and no table at all");
    let exact = format!("shop/api@{nothing_there}");
    let under_a_file = format!("{no_table}/table.db");
    for arguments in [
        &["show", "shop/api:v9"][..],
        &["show", exact.as_str()],
        &["show", "shop/api@ffff"],
        &["show", "ffff"],
        &["history", "shop/api:v9"],
        &["history", "shop/api:latest", "--registry", "999999999999/eu-west-1"],
        &["images", "shop/web"],
        &["images", "shop/api", "--format", "dot"],
        &["ingest", "no/such/file.json"],
        &["deploy", "plan", "--hub", "999988887777/eu-central-1", "111122223333/cn-north-1"],
        &["--table", no_table.as_str(), "orphans"],
        &["--table", "file:/tmp/lineage.db", "orphans"],
        &["--table", "file:///tmp/lineage.db", "orphans"],
        &["--table", "s3://bucket/lineage.db", "orphans"],
        &["--table", "dynamodb://ecr-lineage", "orphans"],
        &["--table", "arn:aws:dynamodb:eu-west-1:111122223333:table/ecr-lineage", "orphans"],
        &["--table", under_a_file.as_str(), "reconcile", "111122223333/eu-west-1"],
    ] {
        let ran = user.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?} {ran:?}");
        let arguments = arguments.join(" ").replace(user.path(), "FOLDER");
        report += &format!("$ ecr-lineage {arguments}\n{}\n", ran.err);
    }
    insta::assert_snapshot!(report);
}

#[test]
fn an_ambiguous_digest_lists_the_matching_images() {
    let user = User::new();
    let push = sample("push.json");
    let other =
        push.replace("4abcd1234", "4abcd9999").replace("13cde686", "13cde687").replace("378abcd1234", "378abcd9999");
    let file = user.file("events.json", push + &other);
    assert_eq!(user.run(&["ingest", &file]).code, Some(0));
    let ran = user.run(&["show", "my-repository-name@7f5b2640"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn a_removed_tag_is_not_reported_as_unknown() {
    let user = User::new();
    let file = user.file("events.json", sample("push.json") + &sample("delete.json"));
    assert_eq!(user.run(&["ingest", &file]).code, Some(0));
    let ran = user.run(&["show", "my-repository-name:latest"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn without_data_nothing_is_said_to_be_right() {
    let user = User::new();
    for command in ["alerts", "drift", "orphans", "lag"] {
        let ran = user.run(&[command]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.contains("there is no table"), "{ran:?}");
        let ran = user.run(&["--table", "memory", command]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.contains("nothing is recorded in table `memory`"), "{ran:?}");
    }
    assert!(!std::path::Path::new(user.path()).join("table.db").exists(), "a question creates no table");
    let user = User::with_example();
    for (arguments, says) in [
        (&["orphans", "--repository", "no/such"][..], "no image of repository `no/such` is known"),
        (&["drift", "--repository", "no/such"], "no image of repository `no/such` is known"),
        (&["orphans", "--registry", "999999999999/eu-west-1"], "registry `999999999999/eu-west-1` is not known"),
    ] {
        let ran = user.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
}

#[test]
fn an_invalid_argument_is_a_usage_error() {
    let user = User::new();
    for (arguments, says) in [
        (&["show", "shop/api"][..], "names a repository, not an image"),
        (&["show", "Shop:v1"], "is not a repository name"),
        (&["images", "shop/api:v1"], "is not a repository name"),
        (&["orphans", "--registry", "eu-west-1"], "is not a registry"),
        (&["history", "shop/api"], "has no tag"),
        (&["ingest"], "required"),
    ] {
        let ran = user.run(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_dynamodb_table_that_cannot_be_used_says_why() {
    let user = User::new();
    let table = ["--table", "lineage", "orphans", "--endpoint-url", "http://127.0.0.1:9"];
    // There are no credentials.
    let ran = user.run_with(&table, &[("AWS_REGION", "eu-west-1")], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("next:") && ran.err.contains("sign in"), "{}", ran.err);
    // No server listens at the endpoint.
    let keys = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "111122223333"), ("AWS_SECRET_ACCESS_KEY", "x")];
    let ran = user.run_with(&table, &keys, "");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("cannot read the known registries") && ran.err.contains("onnection refused"),
        "{}",
        ran.err
    );
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("error:")).count(), 1);
    // The profile does not exist.
    let ran = user.run_with(&[&table[..], &["--profile", "unknown"]].concat(), &[("AWS_REGION", "eu-west-1")], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("next:"), "{}", ran.err);
    // There is no region.
    let ran = user.run_with(&["--table", "lineage", "orphans"], keys.get(1..).unwrap(), "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("--region"), "{}", ran.err);
}

#[tokio::test]
async fn a_dynamodb_table_that_is_missing_says_so() {
    let embedded = sandbox::embedded::Embedded::open(None).await.unwrap();
    let ran = tokio::task::spawn_blocking(move || {
        let keys = [("AWS_ACCESS_KEY_ID", "111122223333"), ("AWS_SECRET_ACCESS_KEY", "x")];
        let table = ["--table", "lineage", "--region", "eu-west-1", "--endpoint-url", &embedded.endpoint, "orphans"];
        User::new().run_with(&table, &keys, "")
    });
    let ran = ran.await.unwrap();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("ResourceNotFoundException") && ran.err.contains("next:  check `--table`"), "{}", ran.err);
}

#[test]
fn an_error_names_what_was_read_and_no_key_of_the_table() {
    let user = User::new();
    let keys = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "111122223333"), ("AWS_SECRET_ACCESS_KEY", "x")];
    let questions = [
        &["show", "shop/api:v1"][..],
        &["show", "shop/api@4d6a"],
        &["history", "shop/api:v1"],
        &["images", "shop/api"],
        &["orphans"],
        &["lag"],
        &["alerts"],
        &["drift"],
        &["deletions"],
        &["holds"],
        &["breaker", "status", "111122223333/eu-west-1"],
    ];
    std::thread::scope(|threads| {
        for arguments in questions {
            let user = &user;
            threads.spawn(move || {
                let far = ["--table", "lineage", "--endpoint-url", "http://127.0.0.1:9"];
                let ran = user.run_with(&[arguments, &far].concat(), &keys, "");
                assert_eq!(ran.code, Some(1), "{ran:?}");
                let clear = ran.err.starts_with("error: cannot read ") && !ran.err.contains('#');
                assert!(clear, "{arguments:?}: {}", ran.err);
                // Without a region no call is made.
                let ran = user.run_with(&[arguments, &far].concat(), &keys[1..], "");
                assert!(!ran.err.contains('#') && !ran.err.to_lowercase().contains("interceptor"), "{}", ran.err);
            });
        }
    });
}
