//! Lambda: the images of functions and of their published versions.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html>

use std::sync::Arc;

use domain::{
    deletion::ImageOrTag,
    usage::{Usage, UsedImage, UserKind},
};
use futures::{StreamExt, TryStreamExt, stream};
use retry::CallError;
use serde::Deserialize;

use super::{
    UsageReader,
    call::{Ask, Caller, next_page},
    images,
};

/// Functions on one page: ListFunctions returns at most 50, whatever is asked for.
const FUNCTIONS_PER_PAGE: u32 = 50;

/// Functions that are read at the same time.
const AT_A_TIME: usize = 4;

/// Reads the functions of an account in a region.
pub(super) struct Lambda<'a> {
    caller: &'a Caller,
    reader: &'a UsageReader,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Functions {
    functions: Vec<Function>,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Function {
    function_name: String,
    function_arn: String,
    /// `$LATEST`, or the number of a published version, which never changes.
    version: String,
    package_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    code: Code,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Code {
    image_uri: Option<String>,
    resolved_image_uri: Option<String>,
}

impl<'a> Lambda<'a> {
    pub(super) fn new(caller: &'a Caller, reader: &'a UsageReader) -> Self {
        Self { caller, reader }
    }

    /// Reads every function and version that is an image.
    pub(super) async fn read(&self, usage: &mut Usage) -> Result<(), CallError> {
        let mut next = None;
        loop {
            let page = self.list_functions(next.as_ref()).await?;
            let functions = page.functions.into_iter().filter(|function| function.package_type == "Image");
            let mut read = stream::iter(functions)
                .map(|function| async move { Ok::<_, CallError>((self.images(&function).await?, function)) })
                .buffer_unordered(AT_A_TIME);
            while let Some((images, function)) = read.try_next().await? {
                for image in images.iter() {
                    usage.add(image.clone(), UserKind::Function, &*function.function_arn, None);
                }
            }
            next = next_page(next.as_ref(), page.next_marker)?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// The images of a function: the one that it runs, and the tag by which it was configured. None if it was deleted
    /// meanwhile.
    async fn images(&self, function: &Function) -> Result<Arc<[UsedImage]>, CallError> {
        let published = function.version.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(known) = self.reader.known(&function.function_arn).filter(|_| published) {
            return Ok(known);
        }
        let Code { image_uri, resolved_image_uri } = match self.get_function(function).await {
            Ok(described) => described.code,
            Err(error) if error.code.as_deref() == Some("ResourceNotFoundException") => return Ok(Arc::new([])),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for reference in [resolved_image_uri, image_uri].into_iter().flatten() {
            found.extend(images(&reference)?);
        }
        if !found.iter().any(|image| matches!(image.id, ImageOrTag::Image(_))) {
            let why = format!("the answer does not say which image {} runs", function.function_arn);
            return Err(CallError::unclear(why));
        }
        let found: Arc<[UsedImage]> = found.into();
        if published {
            self.reader.keep(&function.function_arn, &found);
        }
        Ok(found)
    }

    async fn list_functions(&self, marker: Option<&String>) -> Result<Functions, CallError> {
        let marker = marker.map(|marker| format!("&Marker={}", encoded(marker))).unwrap_or_default();
        let path = format!("/2015-03-31/functions?FunctionVersion=ALL&MaxItems={FUNCTIONS_PER_PAGE}{marker}");
        let answer = self.caller.call("lambda", &Ask::Get(path)).await;
        answer.map_err(|error: CallError| error.about("ListFunctions"))
    }

    async fn get_function(&self, function: &Function) -> Result<Described, CallError> {
        let (name, version) = (encoded(&function.function_name), encoded(&function.version));
        let path = format!("/2015-03-31/functions/{name}?Qualifier={version}");
        let answer = self.caller.call("lambda", &Ask::Get(path)).await;
        answer.map_err(|error: CallError| error.about("GetFunction"))
    }
}

/// A text in a path or a query: all but the unreserved characters in percent encoding.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
