//! The `watch` Lambda function: runs every minute and checks what is due.

use aws::{log, queue::DeadLetters, registry::Registries, start};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use store::Table;
use watch::{Watch, config::Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(start::metrics_namespace()).init()?;
    watch::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let dead_letters = config.dead_letters.map(|url| DeadLetters::new(aws_sdk_sqs::Client::new(&sdk), url));
    let watch = Watch {
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table).with_severity_rules(config.severity_rules),
        registries: Registries::new(sdk, config.roles),
        dead_letters,
        known: config.registries,
        admitted: config.admitted,
        heartbeats: true,
        name: start::process_name(),
    };
    let watch = &watch;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let summary = watch.run(Timestamp::now, start::accept_work_until(event.context.deadline())).await?;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(summary)
    }))
    .await
}
