//! The `mirror` Lambda function: runs every minute and processes the deletions that are due.

use aws::{log, registry::Registries, start, usage::UsageReader};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use mirror::{Mirror, config::Config};
use serde_json::Value;
use store::Table;
use tokio::sync::OnceCell;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(start::metrics_namespace()).init()?;
    mirror::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let policy = decide::load_policy(config.policy.as_deref());
    let sdk = start::loader().load().await;
    let registries = Registries::new(sdk.clone(), config.roles);
    let mirror = Mirror {
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table).with_severity_rules(config.severity_rules),
        usage: UsageReader::new(registries.clone(), config.usage, config.revisions),
        registries,
        policy,
        mode: config.mode,
        limits: config.limits,
        known: config.known,
        name: start::process_name(),
        settings_stored: OnceCell::new(),
    };
    let mirror = &mirror;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        // Boxed, because the type of this future is nested more deeply than the compiler allows in one future.
        let run = Box::pin(mirror.run(Timestamp::now, start::accept_work_until(event.context.deadline())));
        let summary = run.await?;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(summary)
    }))
    .await
}
