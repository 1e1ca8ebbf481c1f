//! The messages that `infra/channels.yaml` makes of alerts: the rules and templates are read from the file, and applied
//! as EventBridge does.

use domain::alert::{Alert, AlertKind, AlertState, PageAddress, PublishedEvent};
use serde_json::{Value, json};

use crate::{
    alerts::{at, complete, every_alert, incident, published, published_events, published_with_page},
    events::IRELAND,
    patterns::matches,
    templates::{resources, source, template},
};

const FILE: &str = "channels.yaml";

/// Values of parameters.
type Parameters<'a> = &'a [(&'a str, &'a str)];

/// A value of the template, with the values of its functions.
fn resolved(template: &Value, value: &Value, parameters: Parameters<'_>) -> Value {
    let resolved = |value: &Value| resolved(template, value, parameters);
    let text = |value: &Value| resolved(value).as_str().unwrap().to_owned();
    let Some((function, of)) = value.as_object().and_then(|fields| fields.iter().next()) else { return value.clone() };
    match function.as_str() {
        "Ref" => {
            let (name, parameter) = (of.as_str().unwrap(), &template["Parameters"][of.as_str().unwrap()]);
            let given = parameters.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            let value = given.unwrap_or_else(|| parameter["Default"].as_str().unwrap());
            if parameter["Type"] == "CommaDelimitedList" { value.split(',').collect() } else { json!(value) }
        }
        "Fn::FindInMap" => template["Mappings"][text(&of[0])][text(&of[1])][text(&of[2])].clone(),
        "Fn::Join" => {
            let parts = resolved(&of[1]).as_array().unwrap().iter().map(text).collect::<Vec<_>>();
            json!(parts.join(of[0].as_str().unwrap()))
        }
        "Fn::Sub" => {
            let variables = of[1].as_object().unwrap();
            let mut filled = of[0].as_str().unwrap().to_owned();
            for (name, value) in variables {
                assert!(filled.contains(&format!("${{{name}}}")), "{name} is not used");
                filled = filled.replace(&format!("${{{name}}}"), &text(value));
            }
            assert!(!filled.contains("${"), "{filled}");
            json!(filled)
        }
        _ => value.clone(),
    }
}

/// The pattern of a rule.
fn pattern(template: &Value, rule: &Value, parameters: Parameters<'_>) -> Value {
    let text = resolved(template, &rule["EventPattern"], parameters).as_str().unwrap().to_owned();
    let pattern: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    // https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
    assert!(pattern.to_string().len() <= 2_048, "{pattern}");
    pattern
}

/// The message that a target receives for an event. EventBridge omits missing values and escapes nothing, so every
/// value must be present and need no escape.
fn transformed(target: &Value, event: &Value) -> String {
    let Some(transformer) = target.get("InputTransformer") else { return event.to_string() };
    let mut body = transformer["InputTemplate"].as_str().unwrap().to_owned();
    // https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_InputTransformer.html
    assert!(body.len() <= 8192);
    let mut unused = body.matches('<').count();
    for (name, path) in transformer["InputPathsMap"].as_object().unwrap() {
        let path = path.as_str().unwrap().strip_prefix('$').unwrap().replace('.', "/");
        let value = event.pointer(&path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {event}"));
        assert_eq!(json!(value).to_string(), format!("\"{value}\""), "{path} would have to be escaped");
        let placeholder = format!("<{name}>");
        assert!(body.contains(&placeholder), "{name} is not used");
        unused -= body.matches(&placeholder).count();
        body = body.replace(&placeholder, value);
    }
    assert_eq!(unused, 0, "a placeholder without a path in {body}");
    body
}

/// The message that the only target of a rule receives, if the rule matches the event.
fn sent(template: &Value, rule: &str, event: &Value, parameters: Parameters<'_>) -> Option<String> {
    let rule = &template["Resources"][rule]["Properties"];
    assert_eq!(rule["Targets"].as_array().unwrap().len(), 1);
    let pattern = pattern(template, rule, parameters);
    matches(&pattern, event).then(|| transformed(&rule["Targets"][0], event))
}

const RULES: [&str; 5] = ["MailRule", "ChatRule", "WebhookRule", "PagerDutyTriggerRule", "PagerDutyResolveRule"];

fn length(value: &Value) -> usize {
    value.as_str().unwrap().chars().count()
}

#[tokio::test]
async fn every_alert_fits_every_channel() {
    let template = template(FILE);
    let rules: Vec<_> = resources(&template, "AWS::Events::Rule").into_iter().map(|(name, _)| name).collect();
    assert_eq!(rules, RULES);
    let named = [("AlertKinds", "*,replication_complete")];
    let sent = |rule: &str, event: &Value| sent(&template, rule, event, &named);
    for event in [published(&every_alert()).await, published_events(&[complete(Some("v1"))]).await].concat() {
        let mail = sent("MailRule", &event).unwrap();
        for line in mail.lines() {
            let text: String = serde_json::from_str(line).unwrap();
            assert!(!text.is_empty());
        }

        let chat: Value = serde_json::from_str(&sent("ChatRule", &event).unwrap()).unwrap();
        assert_eq!((&chat["version"], &chat["source"]), (&json!("1.0"), &json!("custom")));
        // https://docs.slack.dev/reference/block-kit/blocks/header-block and section-block
        assert!((1..=150).contains(&length(&chat["content"]["title"])));
        assert!((1..=3_000).contains(&length(&chat["content"]["description"])));
        assert!((1..=3_000).contains(&length(&chat["content"]["nextSteps"][0])));

        assert_eq!(serde_json::from_str::<Value>(&sent("WebhookRule", &event).unwrap()).unwrap(), event);

        // https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
        for rule in ["PagerDutyTriggerRule", "PagerDutyResolveRule"] {
            let Some(body) = sent(rule, &event) else { continue };
            assert!(body.len() < 512 * 1_024);
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!((1..=255).contains(&length(&body["dedup_key"])));
            if body["event_action"] == "resolve" {
                continue;
            }
            assert_eq!(body["event_action"], "trigger");
            assert!((1..=1_024).contains(&length(&body["payload"]["summary"])));
            assert!(length(&body["payload"]["source"]) > 0);
            assert!(["critical", "error", "warning", "info"].contains(&body["payload"]["severity"].as_str().unwrap()));
        }
    }
}

#[tokio::test]
async fn every_message_links_to_the_page_that_shows_it() {
    let template = template(FILE);
    let page: PageAddress = "https://page.example/".parse().unwrap();
    let alerts = every_alert();
    let events: Vec<_> = alerts.iter().cloned().map(PublishedEvent::Alert).chain([complete(Some("v1"))]).collect();
    for event in published_with_page(&events, Some(page)).await {
        let link = event["detail"]["link"].as_str().unwrap();
        assert!(link.starts_with("https://page.example/#/"), "{link}");
        for rule in ["MailRule", "ChatRule", "WebhookRule"] {
            let message = sent(&template, rule, &event, &[("AlertKinds", "*,replication_complete")]).unwrap();
            assert!(message.contains(link), "{rule}: {message}");
        }
        let text = &event["detail"]["channel_text"]["remediation"];
        assert!(length(text) <= 2_000 && text.as_str().unwrap().ends_with(link), "{text}");
    }
}

#[tokio::test]
async fn a_rule_matches_alerts_from_its_minimum_severity_and_their_resolution() {
    let template = template(FILE);
    let levels = ["info", "warning", "critical"];
    let alerts = every_alert();
    for (alert, event) in alerts.iter().zip(published(&alerts).await) {
        for (least, minimum) in levels.iter().enumerate() {
            let taken = |rule: &str| sent(&template, rule, &event, &[("MinimumSeverity", *minimum)]).is_some();
            let level = levels.iter().position(|level| *level == alert.kind.severity().as_str()).unwrap();
            for rule in ["MailRule", "ChatRule", "WebhookRule"] {
                assert_eq!(taken(rule), level >= least, "{rule} {minimum} {alert:?}");
            }
            let (pages, over) = (level >= least.max(1), alert.state == AlertState::Resolved);
            assert_eq!(taken("PagerDutyTriggerRule"), pages && !over, "{minimum} {alert:?}");
            assert_eq!(taken("PagerDutyResolveRule"), pages && over, "{minimum} {alert:?}");
        }
        let mut foreign = event.clone();
        foreign["source"] = json!("another.source");
        assert!(RULES.iter().all(|rule| sent(&template, rule, &foreign, &[]).is_none()));
    }
}

#[tokio::test]
async fn a_route_takes_the_alerts_of_its_repositories_and_kinds() {
    let template = template(FILE);
    let taken = |event: &Value, parameters: Parameters<'_>| sent(&template, "MailRule", event, parameters).is_some();
    let mut prod = incident(AlertKind::ReplicationLate, "team/app:v1 is late");
    for alert in &mut prod {
        alert.repositories = ["prod/api", "team/app"].map(|name| name.parse().unwrap()).into();
    }
    let breaker = Alert::notice(AlertKind::BreakerOpened, IRELAND, "too many".to_owned(), at(0));
    let events = published(&[prod.to_vec(), vec![breaker]].concat()).await;
    let (incident, breaker) = events.split_at(3);
    for (repositories, is_taken) in [
        ("*", true),
        ("prod/*", true),
        ("sandbox/*,team/app", true),
        ("*/api", true),
        ("sandbox/*", false),
        ("prod", false),
    ] {
        // The beginning and the end take the same way.
        assert!(incident.iter().all(|event| taken(event, &[("AlertRepositories", repositories)]) == is_taken));
        assert!(taken(&breaker[0], &[("AlertRepositories", repositories)]), "it concerns every repository");
    }
    for (kinds, of_incident, of_breaker) in [
        ("*", true, true),
        ("replication_*", true, false),
        ("replication_late", true, false),
        ("breaker_*,replication_failed", false, true),
        ("deletion_*", false, false),
    ] {
        assert!(incident.iter().all(|event| taken(event, &[("AlertKinds", kinds)]) == of_incident), "{kinds}");
        assert_eq!(taken(&breaker[0], &[("AlertKinds", kinds)]), of_breaker, "{kinds}");
    }
    assert!(!taken(&incident[0], &[("AlertKinds", "replication_*"), ("AlertRepositories", "sandbox/*")]));
}

#[tokio::test]
async fn complete_pushes_are_delivered_only_where_the_kind_is_named() {
    let template = template(FILE);
    let [event] = &*published_events(&[complete(Some("v1"))]).await else { panic!("one event") };
    for rule in RULES {
        for kinds in ["*", "replication_*", "*_complete", "replication_late"] {
            assert_eq!(sent(&template, rule, event, &[("AlertKinds", kinds)]), None, "{rule} {kinds}");
        }
        let named = ("AlertKinds", "breaker_*,replication_complete");
        let is_sent = !rule.starts_with("PagerDuty");
        assert_eq!(sent(&template, rule, event, &[named]).is_some(), is_sent, "{rule}");
        assert_eq!(sent(&template, rule, event, &[named, ("AlertRepositories", "team/*")]).is_some(), is_sent);
        assert_eq!(sent(&template, rule, event, &[named, ("AlertRepositories", "prod/*")]), None);
        assert_eq!(sent(&template, rule, event, &[named, ("MinimumSeverity", "warning")]), None);
    }
}

#[tokio::test]
async fn an_incident_is_one_thread_and_one_incident_of_pagerduty() {
    let template = template(FILE);
    let [opened, open, over] = incident(AlertKind::ReplicationFailed, "the copy failed");
    let events = published(&[opened, open, over]).await;
    let body = |rule: &str, event| -> Value {
        serde_json::from_str(&sent(&template, rule, event, &[("MinimumSeverity", "critical")]).unwrap()).unwrap()
    };
    let key = &body("PagerDutyTriggerRule", &events[0])["dedup_key"];
    assert_eq!(body("PagerDutyTriggerRule", &events[1])["dedup_key"], *key);
    assert_eq!(body("PagerDutyResolveRule", &events[2])["dedup_key"], *key);
    for event in &events {
        assert_eq!(body("ChatRule", event)["metadata"]["threadId"], *key);
    }
}

#[tokio::test]
async fn the_messages_of_every_channel() {
    let template = template(FILE);
    let [opened, _, over] =
        incident(AlertKind::ReplicationLate, "team/app:v1.2.0 has been replicating since 09:25:00 UTC");
    let breaker = "111122223333/eu-west-1: 100 images in 24 h; limit 10 (deletions by principals)".to_owned();
    let alerts = [opened, over, Alert::notice(AlertKind::BreakerOpened, IRELAND, breaker, at(0))];
    let events = published(&alerts).await;
    for rules in [&RULES[..1], &RULES[1..2], &RULES[2..3], &RULES[3..]] {
        let mut text = String::new();
        for event in &events {
            for rule in rules {
                text.extend(sent(&template, rule, event, &[]).map(|body| format!("{rule}:\n{body}\n\n")));
            }
        }
        insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(rules[0], text) });
    }
}

#[test]
fn undelivered_messages_are_retried_for_a_day_and_then_kept() {
    let template = template(FILE);
    for (name, rule) in resources(&template, "AWS::Events::Rule") {
        for target in rule["Properties"]["Targets"].as_array().unwrap() {
            assert_eq!(target["DeadLetterConfig"]["Arn"], json!({"Fn::GetAtt": ["Undelivered", "Arn"]}), "{name}");
            assert_eq!(target["RetryPolicy"]["MaximumEventAgeInSeconds"], 86_400, "{name}");
            let Some(destination) = target["Arn"].get("Fn::GetAtt") else { continue };
            let role = &template["Resources"][target["RoleArn"]["Fn::GetAtt"][0].as_str().unwrap()]["Properties"];
            let statements = role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap();
            let allowed = json!({
                "Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": {"Fn::GetAtt": destination},
            });
            assert_eq!(statements, &[allowed], "{name}");
            assert_eq!(role["Policies"].as_array().unwrap().len(), 1, "{name}");
        }
    }
    assert_eq!(template["Resources"]["Undelivered"]["Properties"]["SqsManagedSseEnabled"], true);
}

#[test]
fn topics_are_encrypted_and_open_to_their_one_rule() {
    let template = template(FILE);
    let topics = resources(&template, "AWS::SNS::Topic");
    assert_eq!(topics.len(), 2);
    for (name, topic) in topics {
        assert_eq!(topic["Properties"]["KmsMasterKeyId"], json!({"Ref": "Key"}), "{name}");
        let policy = &template["Resources"][format!("{name}Policy")]["Properties"];
        assert_eq!(policy["Topics"], json!([{"Ref": name}]));
        let allowed = json!({
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish",
            "Resource": {"Ref": name},
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [format!("{name}Rule"), "Arn"]}}},
        });
        assert_eq!(policy["PolicyDocument"]["Statement"], json!([allowed]));
    }
}

#[test]
fn every_channel_is_optional_and_keys_are_hidden() {
    let template = template(FILE);
    for (name, parameter) in template["Parameters"].as_object().unwrap() {
        assert!(parameter["Default"].is_string(), "{name}");
        assert_eq!(parameter["NoEcho"] == true, name.ends_with("Key"), "{name}");
    }
    let all = template["Resources"].as_object().unwrap();
    let made: Vec<_> = all.iter().filter(|(_, of)| of.get("Condition").is_none()).map(|(name, _)| name).collect();
    assert_eq!(made, ["Undelivered", "UndeliveredPolicy", "UndeliveredAlertsAlarm"]);
    assert!(!source(FILE).contains("arn:aws:"), "an ARN of one partition");
}
