//! The `query` Lambda function, behind a function URL or an API Gateway with IAM authentication.

use aws::{log, registry::Registries, start};
use aws_sdk_dynamodb::Client;
use axum::{extract::Request, middleware::from_fn};
use jiff::Timestamp;
use lambda_http::{Error, RequestExt};
use query::{
    api::{self, Query, caller::Caller},
    config::Config,
};
use store::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let Config { table, roles, may_change } = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let query = Query {
        table: Table::new(Client::new(&sdk), table),
        registries: Registries::new(sdk, roles),
        clock: Box::new(Timestamp::now),
    };
    let router = api::router(query).layer(from_fn(move |mut request: Request, next: axum::middleware::Next| {
        let name = request.request_context_ref().and_then(Caller::of);
        request.extensions_mut().insert(Caller { name, may_change });
        next.run(request)
    }));
    lambda_http::run(router).await
}
