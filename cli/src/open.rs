//! `open`: the page of an image in the browser.

use std::process::{Command, Stdio};

use answers::reference::Reference;
use domain::alert::PageAddress;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    options::{Format, OpenOptions, TargetOptions},
    output,
    print::Print,
    target,
};

/// The address of a view of the page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageLink {
    /// The URL.
    pub url: String,
}

impl Print for PageLink {
    // A URL stays whole.
    fn table(&self, _: Option<u16>) -> String {
        format!("{}\n", self.url)
    }
}

/// Prints the address of the page, of an image or of the overview, and opens it if there is a terminal.
///
/// # Errors
/// When the address of the page is not known.
pub async fn open(options: &OpenOptions, target: &TargetOptions, format: Format) -> Result<(), CliError> {
    let page = match &options.page {
        Some(page) => page.clone(),
        // `local` serves the page where it serves AWS's API.
        None => {
            let (sdk, _) = target::configuration(target).await;
            let page = sdk.endpoint_url().and_then(|url| url.parse().ok());
            page.ok_or(CliError::NoPage)?
        }
    };
    let link = PageLink { url: address(&page, options.image.as_ref()) };
    crate::print(format, &link)?;
    if !options.print && format == Format::Table && output::is_terminal() && !output::is_quiet() {
        start(&link.url);
    }
    Ok(())
}

fn address(page: &PageAddress, image: Option<&Reference>) -> String {
    match image {
        None => page.to_string(),
        // Only a search finds the repository.
        Some(short @ Reference::Short { repository: None, .. }) => page.view("search", short),
        Some(image) => page.view("image", image),
    }
}

/// Starts the program that opens URLs, and does not wait for it. Where there is none, the printed address is enough.
fn start(url: &str) {
    let mut opener = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        // Not `start` of the shell, which would interpret the address.
        let mut opener = Command::new("rundll32");
        opener.arg("url.dll,FileProtocolHandler");
        opener
    } else {
        Command::new("xdg-open")
    };
    let quiet = opener.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if quiet.spawn().is_err() {
        anstream::eprintln!("no program opens the address here: open it yourself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_an_address_of_its_own() {
        let page: PageAddress = "https://page.example".parse().unwrap();
        for (image, expected) in [
            ("team/app:v1", "https://page.example/#/image/team/app:v1"),
            ("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1", "https://page.example/#/image/team/app:v1"),
            ("team/app@4d6a", "https://page.example/#/image/team/app@4d6a"),
            ("4d6a4344", "https://page.example/#/search/4d6a4344"),
        ] {
            assert_eq!(address(&page, Some(&image.parse().unwrap())), expected);
        }
        assert_eq!(address(&page, None), "https://page.example/");
    }
}
