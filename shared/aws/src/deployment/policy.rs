//! A policy as a version of a layer, and the hub's stack updated to run it: the only change of a deployment that a command
//! makes.

use std::{io::Write, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{Capability, Parameter};
use aws_smithy_types::Blob;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use retry::CallError;

use super::{Stack, stack};

/// The pause between two looks at an update.
const PAUSE: Duration = Duration::from_secs(5);

/// Publishes a file with a policy as a version of the layer of this name, and returns the ARN of the version. Its content
/// never changes.
///
/// # Errors
/// When the call to Lambda fails.
pub async fn publish(sdk: &SdkConfig, layer: &str, file: &str, text: &str) -> Result<String, CallError> {
    let package = packed(file, text);
    let package = package.map_err(|error| CallError::unclear(format!("the policy cannot be packed: {error}")))?;
    let content = aws_sdk_lambda::types::LayerVersionContentInput::builder().zip_file(Blob::new(package));
    let publish = aws_sdk_lambda::Client::new(sdk).publish_layer_version().layer_name(layer).content(content.build());
    let published = publish.description(format!("{file}, by ecr-lineage policy deploy")).send().await?;
    published.layer_version_arn.ok_or_else(|| CallError::unclear("Lambda names no version of the layer".to_owned()))
}

/// A zip file with one file in it, as Lambda takes it.
fn packed(file: &str, text: &str) -> Result<Vec<u8>, rawzip::Error> {
    let mut package = ZipArchiveWriter::new(Vec::new());
    let (mut entry, config) =
        package.new_file(file).compression_method(CompressionMethod::STORE).unix_permissions(0o644).start()?;
    let mut content = config.wrap(&mut entry);
    content.write_all(text.as_bytes())?;
    let (_, descriptor) = content.finish()?;
    entry.finish(descriptor)?;
    package.finish()
}

/// Updates parameters of a stack, with the template and the other parameters that it has, and waits for the end.
///
/// # Errors
/// When a call to CloudFormation fails, or when the update does: CloudFormation then brings back what was before.
pub async fn update(sdk: &SdkConfig, before: &Stack, changed: &[(&str, &str)]) -> Result<(), CallError> {
    let parameters = before.parameters.keys().map(|name| {
        let parameter = Parameter::builder().parameter_key(name);
        match changed.iter().find(|(changed, _)| changed == name) {
            Some((_, value)) => parameter.parameter_value(*value).build(),
            None => parameter.use_previous_value(true).build(),
        }
    });
    let update = aws_sdk_cloudformation::Client::new(sdk).update_stack().stack_name(&before.name);
    let update = update.use_previous_template(true).capabilities(Capability::CapabilityIam);
    update.set_parameters(Some(parameters.collect())).send().await?;
    loop {
        let Some(now) = stack(sdk, &before.name).await? else {
            return Err(CallError::unclear(format!("stack {} is gone", before.name)));
        };
        let is_new = changed.iter().all(|(name, value)| now.parameters.get(*name).is_some_and(|now| now == value));
        if now.complete && is_new {
            return Ok(());
        }
        // What is complete without the new values was read before the update began.
        if !now.complete && !now.in_progress() {
            let why = format!("stack {} is {}: the update failed, see its events", now.name, now.status);
            return Err(CallError::unclear(why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
