//! Where answers go, how often, and how names and times in them are shown.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::command::User;

#[test]
fn an_answer_is_written_to_a_file_which_is_replaced_as_a_whole() {
    let user = User::with_example();
    let printed = user.run(&["orphans"]);
    let file = user.file("orphans.txt", "old");
    let ran = user.run(&["orphans", "-o", &file]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (printed.code, "", ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), printed.out);
    // A failed command leaves the file as it was.
    let ran = user.run(&["show", "shop/api:unknown", "--output", &file]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), printed.out);
    let files: Vec<_> = fs::read_dir(user.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for (path, says) in [
        (format!("{}/no/such/file", user.path()), "No such file or directory"),
        (user.path().to_owned(), "is a directory"),
        (format!("{file}/file"), "directory"),
    ] {
        let ran = user.run(&["images", "shop/api", "--output", &path]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.starts_with("error: cannot write ") && ran.err.contains(says), "{}", ran.err);
        assert!(ran.err.contains("next:"), "{}", ran.err);
    }
}

#[test]
fn a_quiet_command_says_it_by_its_exit_code() {
    let user = User::with_example();
    for (arguments, code) in [
        (&["show", "shop/api:v1.4.2", "-q"][..], 0),
        (&["orphans", "--quiet"], 1),
        (&["where", "shop/api:v1.4.1", "--in", "us-east-1", "-q"], 1),
    ] {
        let ran = user.run(arguments);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(code), "", ""), "{arguments:?}");
    }
    let ran = user.run(&["show", "shop/api:unknown", "-q"]);
    assert!(ran.code == Some(1) && ran.err.starts_with("error:"), "{ran:?}");
}

#[test]
fn a_verbose_command_names_its_table_and_each_call() {
    let user = User::with_example();
    let ran = user.run(&["orphans", "-v"]);
    assert_eq!(ran.err, "table: FOLDER/table.db, embedded\n");
    let keys = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "111122223333"), ("AWS_SECRET_ACCESS_KEY", "x")];
    let far = ["--table", "lineage", "orphans", "--endpoint-url", "http://127.0.0.1:9", "--verbose"];
    let ran = user.run_with(&far, &keys, "");
    assert!(ran.err.starts_with("table: lineage, in DynamoDB in eu-west-1\ncall: Query at 127.0.0.1:9"), "{}", ran.err);
}

#[test]
fn a_question_is_repeated_until_it_is_interrupted() {
    let user = User::with_example();
    let mut command = user.command(&["orphans", "--watch=1s"]);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let id = process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.matches("whose source no longer has the image").count();
    assert!(answers >= 2 && !text.contains('\u{1b}'), "{text}");
    for (arguments, says) in [
        (&["holds", "--watch", "--output", "x"][..], "cannot be used with"),
        (&["resume", "--watch"], "repeats a question"),
        (&["holds", "--watch=0s"], "is not a time"),
    ] {
        let ran = user.run(arguments);
        assert!(ran.code == Some(2) && ran.err.contains(says), "{ran:?}");
    }
}

#[test]
fn accounts_are_shown_and_taken_by_their_names_but_json_has_their_ids() {
    let user = User::with_example();
    let aliases = user.file("names.toml", "# of this organization\n111122223333 = \"prod\"\n");
    let named = [("ECR_LINEAGE_ALIASES", aliases.as_str())];
    let ran = user.run_with(&["orphans", "--registry", "prod/us-east-1"], &named, "");
    assert!(ran.out.contains("prod/us-east-1") && !ran.out.contains("111122223333/"), "{ran:?}");
    let ran = user.run(&["images", "shop/api", "--aliases", &aliases]);
    assert!(ran.out.contains("● prod/eu-west-1"), "{}", ran.out);
    let ran = user.run_with(&["images", "shop/api", "--format", "json"], &named, "");
    assert!(ran.out.contains("111122223333/eu-west-1") && !ran.out.contains("prod/"), "{}", ran.out);
    let ran = user.run_with(&["orphans", "--registry", "test/us-east-1"], &named, "");
    assert!(ran.code == Some(2) && ran.err.contains("`test/us-east-1` is not a registry"), "{ran:?}");
    let wrong = user.file("wrong.toml", "prod = \"111122223333\"\n");
    let ran = user.run(&["orphans", "--aliases", &wrong]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.starts_with("error: `FOLDER/wrong.toml` line 1: `prod` is not an account ID"), "{}", ran.err);
    let ran = user.run(&["orphans", "--aliases=no/such/file"]);
    assert!(ran.code == Some(1) && ran.err.contains("cannot read `no/such/file`"), "{ran:?}");
}

#[test]
fn times_are_shown_in_utc_in_local_time_or_relative_to_now() {
    let user = User::with_example();
    let utc = user.run(&["history", "shop/api:v1.4.1"]).out;
    let time = utc.lines().find_map(|line| line.strip_prefix("  2")).unwrap();
    let hour: u32 = time.get(10..12).unwrap().parse().unwrap();
    let zone = [("TZ", "Asia/Tokyo")];
    let local = user.run_with(&["history", "shop/api:v1.4.1", "--time", "local"], &zone, "").out;
    assert!(local.contains(&format!(" {:02}{}", (hour + 9) % 24, time.get(12..18).unwrap())), "{utc}{local}");
    let relative = user.run(&["show", "shop/api:v1.4.1", "--time", "relative"]).out;
    assert!(relative.contains(" d ago") && !relative.contains("(UTC)"), "{relative}");
    let json = ["show", "shop/api:v1.4.1", "--format", "json"];
    let [plain, shown] = [user.run(&json).out, user.run(&[&json[..], &["--time", "relative"]].concat()).out];
    assert_eq!(plain, shown);
}
