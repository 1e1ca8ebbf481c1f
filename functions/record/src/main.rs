//! The `record` Lambda function: records SQS batches of EventBridge events in the table.

use aws::{log, signature::Certificates, start, topic::Topics};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use record::{
    Record,
    config::{Config, Signatures},
    proof::{Members, Proofs},
    subscription,
};
use store::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(start::metrics_namespace()).init()?;
    record::describe_metrics();
    let Config { table, senders, signatures } = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let table = Table::new(aws_sdk_dynamodb::Client::new(&sdk), table);
    let topics = Topics::new(sdk);
    let certificates = (signatures == Signatures::Verify).then(Certificates::default);
    let proofs = Proofs { certificates, members: Some(Members::new(topics.clone())) };
    let record = Record { table, senders, proofs };
    let (record, topics) = (&record, &topics);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let mut handled = record.handle(event.payload).await;
        subscription::confirm_all(topics, &mut handled).await;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(handled.response())
    }))
    .await
}
