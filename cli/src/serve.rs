//! `serve`: the page and the API on this machine, for one user with their own credentials.

use std::net::Ipv4Addr;

use query::api::caller::Caller;
use sandbox::loopback;
use tokio::net::TcpListener;

use crate::{
    failure::CliError,
    local,
    options::ServeOptions,
    print::{HEADING, styled},
    target::Target,
};

/// Serves a table until Ctrl-C.
///
/// # Errors
/// When the port is taken, or AWS does not return the caller's identity.
pub async fn serve(target: &Target, options: &ServeOptions) -> Result<(), CliError> {
    let (who, port) = (target.who().await?, options.port);
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| CliError::Port { port, source })?;
    let address = listener.local_addr()?.to_string();
    let key = new_key()?;
    let query = target.query();
    let caller = Caller { name: Some(who.clone()), may_change: options.allow_changes };
    let router = loopback::router(query, caller, Some(key.clone()));
    let interrupted = local::interrupted()?;
    let can = if options.allow_changes {
        "Changes are allowed: each hold, release, approve, cancel and reset is recorded with your name."
    } else {
        "Read-only: start with `--allow-changes` to hold, release, approve, cancel and reset."
    };
    local::say(&format!(
        "{} http://{address}/#key={key}  (Ctrl-C stops)\n\n  table  {}\n  you    {who}\n\n{can}\n\
         Keep the link to yourself: anyone who has it acts as you.\n",
        styled(HEADING, "Lineage at"),
        target.name(),
    ));
    axum::serve(listener, router).with_graceful_shutdown(interrupted).await?;
    Ok(())
}

/// What only this person knows: 128 bits as text.
fn new_key() -> Result<String, CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
