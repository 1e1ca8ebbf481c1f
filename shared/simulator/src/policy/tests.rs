use serde_json::{Value, json};

use super::*;

const RESOURCE: &str = "arn:aws:ecr:eu-west-1:444455556666:repository/team/app";
const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/deploy/dana";

fn allows_caller(policy: &str, arn: &str, action: &str) -> bool {
    let caller = Caller::new(arn, "111122223333", "eu-west-1");
    Policy::of_registry(policy).unwrap().allows(&caller, action, RESOURCE)
}

fn allows(policy: &str, action: &str) -> bool {
    allows_caller(policy, "arn:aws:iam::111122223333:root", action)
}

#[test]
fn an_account_is_allowed_what_the_policy_says_and_no_more() {
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": ["ecr:ReplicateImage", "ecr:Create*"],
        "Resource": "arn:aws:ecr:eu-west-1:444455556666:repository/team/*"}]}"#;
    assert!(allows(policy, "ecr:ReplicateImage"));
    assert!(allows(policy, "ecr:CreateRepository"));
    assert!(!allows(policy, "ecr:BatchDeleteImage"));
    assert!(!allows(&policy.replace("111122223333", "999900001111"), "ecr:ReplicateImage"));
    assert!(!allows(&policy.replace("team/*", "other/*"), "ecr:ReplicateImage"));
}

#[test]
fn a_deny_overrides_an_allow() {
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": {"AWS": ["111122223333"]}, "Action": "ecr:BatchDeleteImage", "Resource": "*"}]}"#;
    assert!(allows(policy, "ecr:DescribeImages"));
    assert!(!allows(policy, "ecr:BatchDeleteImage"));
}

fn with(changes: Value) -> String {
    let mut statement = json!({"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"});
    let members = statement.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() { _ = members.remove(name) } else { _ = members.insert(name.clone(), value.clone()) }
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[test]
fn a_principal_that_is_a_role_or_a_service_is_only_that() {
    let role = with(json!({"Principal": {"AWS": "arn:aws:iam::111122223333:role/deploy"}}));
    assert!(allows_caller(&role, ROLE, "ecr:PutImage"));
    assert!(!allows(&role, "ecr:PutImage"));
    let service = with(json!({"Principal": {"Service": "codebuild.amazonaws.com"},
        "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:codebuild:eu-west-1:111122223333:project/x"},
                      "StringEquals": {"aws:SourceAccount": "111122223333"}}}));
    assert!(!allows(&service, "ecr:BatchGetImage"));
    let others = with(json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}}));
    assert!(!allows(&others, "ecr:PutImage"));
    assert!(allows(&others.replace("111122223333", "999900001111"), "ecr:PutImage"));
}

#[test]
fn conditions_are_evaluated() {
    for (holds, condition) in [
        (true, json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})),
        (false, json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})),
        (true, json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/dep?oy"}})),
        (false, json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:*:role/deploy"}})),
        (true, json!({"ArnEquals": {"AWS:principalarn": ["arn:aws:iam::111122223333:role/deploy"]}})),
        (true, json!({"StringLike": {"aws:PrincipalArn": "*:role/*"}})),
        (false, json!({"StringNotLike": {"aws:PrincipalArn": "*:role/*"}})),
        (true, json!({"Bool": {"aws:SecureTransport": true}})),
        (false, json!({"Bool": {"aws:PrincipalIsAWSService": "true"}})),
        (true, json!({"StringEqualsIgnoreCase": {"aws:RequestedRegion": "EU-West-1"}})),
        (true, json!({"Null": {"aws:SourceArn": "true"}})),
        (false, json!({"Null": {"aws:PrincipalArn": "true"}})),
        (false, json!({"StringEquals": {"aws:SourceAccount": "111122223333"}})),
        (true, json!({"StringNotEquals": {"aws:SourceAccount": "111122223333"}})),
        (true, json!({"StringEqualsIfExists": {"aws:SourceAccount": "111122223333"}})),
        (true, json!({"ForAllValues:StringEquals": {"aws:SourceAccount": "111122223333"}})),
        (false, json!({"StringEquals": {"aws:PrincipalAccount": "111122223333", "aws:RequestedRegion": "us-east-1"}})),
    ] {
        let policy = with(json!({"Condition": condition}));
        assert_eq!(allows_caller(&policy, ROLE, "ecr:PutImage"), holds, "{condition}");
    }
}

#[test]
fn what_the_simulator_cannot_evaluate_is_refused_in_its_own_words() {
    let refusal =
        |condition: Value| Policy::of_registry(&with(json!({"Condition": condition}))).unwrap_err().to_string();
    assert_eq!(
        refusal(json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}})),
        "the simulator cannot evaluate the condition key aws:SourceVpc; AWS may accept it"
    );
    assert_eq!(
        refusal(json!({"IpAddress": {"aws:SourceIp": "54.240.143.0/24"}})),
        "the simulator cannot evaluate the condition operator IpAddress; AWS may accept it"
    );
    // Of a repository's policy it is not evaluated, as the whole policy.
    let repository = with(json!({"Condition": {"NotIpAddress": {"aws:SourceIp": "54.240.143.0/24"}}}));
    assert!(Policy::check_of_repository(&repository).is_ok());
}

#[test]
fn what_aws_refuses_is_refused() {
    for text in ["", "1", "not json", "{}", r#"{"Version": "2012-10-17", "Statement": []}"#] {
        assert!(Policy::check_of_repository(text).is_err(), "{text}");
    }
    for changes in [
        json!({"Principal": null, "Action": null}),
        json!({"Principal": null}),
        json!({"NotPrincipal": "*"}),
        json!({"Action": null}),
        json!({"Action": []}),
        json!({"Action": "PutImage"}),
        json!({"Effect": "allow"}),
        json!({"Effects": "Allow"}),
        json!({"Principal": {}}),
        json!({"Principal": "111122223333"}),
        json!({"Principal": {"AWS": "123"}}),
        json!({"Principal": {"AWS": "arn:aws:iam::111122223333:*"}}),
        json!({"Condition": "x"}),
    ] {
        let text = with(changes);
        let said = Policy::check_of_repository(&text).unwrap_err().to_string();
        assert_eq!(said, "Invalid repository policy provided", "{text}");
    }
    let old = with(json!({})).replace("2012", "2011");
    assert!(Policy::check_of_repository(&old).is_err());
    let without = with(json!({"Resource": null}));
    assert!(Policy::check_of_repository(&without).is_ok());
    assert_eq!(Policy::of_registry(&without).unwrap_err().to_string(), "Invalid registry policy provided");
}

#[test]
fn a_pattern_is_matched_in_few_steps() {
    assert!(like("a*b?d*", "axxbcd"));
    assert!(!like("a*b?d", "axxbd"));
    // A matcher that tries every way would not end.
    assert!(!like(&format!("{}b", "*a".repeat(5_000)), &"a".repeat(2_000)));
}
