//! The `alert` Lambda function: publishes alerts from the table's stream to the event bus.

use alert::config::Config;
use aws::{bus::Bus, log, start};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(start::metrics_namespace()).init()?;
    alert::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let bus = Bus::new(aws_sdk_eventbridge::Client::new(&sdk), config.bus).with_page(config.page);
    let bus = &bus;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let response = alert::handle(bus, event.payload).await;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(response)
    }))
    .await
}
