//! Configuration from environment variables.

use aws::{
    bus::PageAddress,
    environment::{ConfigErrors, Environment},
};

/// Configuration of `alert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `BUS_NAME`: the event bus on which alerts are published; `default` is the bus that every AWS account has.
    pub bus: String,
    /// `PAGE_URL`: the address of the page, to which alerts link.
    pub page: Option<PageAddress>,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// When `BUS_NAME` is not set, or `PAGE_URL` is no URL.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let bus = environment.required("BUS_NAME", "the event bus, such as `default`");
        let page = environment.text("PAGE_URL").map(|text| text.parse::<PageAddress>());
        let page = page.transpose().unwrap_or_else(|error| {
            environment.invalid("PAGE_URL", error.to_string());
            None
        });
        environment.finish(Self { bus, page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_must_be_named() {
        let named = Config::read(|name| (name == "BUS_NAME").then(|| "default".to_owned()));
        assert_eq!(named, Ok(Config { bus: "default".into(), page: None }));
        for nothing in [None, Some(String::new())] {
            let error = Config::read(|_| nothing.clone()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "environment variable `BUS_NAME` is not set: the event bus, such as `default`"
            );
        }
    }
    #[test]
    fn the_page_is_a_url() {
        let with = |page: &str| {
            let page = page.to_owned();
            Config::read(move |name| Some(if name == "BUS_NAME" { "default".to_owned() } else { page.clone() }))
        };
        assert_eq!(with("https://page.example/").unwrap().page.unwrap().to_string(), "https://page.example/");
        assert!(with("page.example").unwrap_err().to_string().contains("`PAGE_URL` "));
    }
}
