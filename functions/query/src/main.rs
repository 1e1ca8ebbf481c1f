//! The `query` Lambda function, behind a function URL or an API Gateway with IAM authentication, or the HTTP API of
//! `infra/page.yaml`.

use std::future::ready;

use aws::{log, registry::Registries, start};
use aws_sdk_dynamodb::Client;
use axum::{extract::Request, middleware::map_request};
use jiff::Timestamp;
use lambda_http::Error;
use query::{
    api::{self, Query, caller},
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
    let router =
        api::router(query).layer(map_request(move |request: Request| ready(caller::identify(request, may_change))));
    lambda_http::run(router).await
}
