//! `usage`: lists of images in use, from those who know what no service says.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::Path,
};

use domain::{
    time::time_text,
    usage::{MAX_LISTED, UsageList, UsedImage},
};
use jiff::Timestamp;
use retry::chain;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    print::{Print, filled},
};

/// A list of images in use.
#[derive(Debug, Serialize, ToSchema)]
pub struct DescribedUsageList {
    /// The name.
    pub name: String,
    /// The number of image references.
    pub images: usize,
    /// Who imported it.
    pub by: String,
    /// When it was imported.
    pub at: Timestamp,
    /// When it ends; absent if it holds until it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What it keeps, by whom, since when and until when: one line.
    pub summary: String,
}

impl DescribedUsageList {
    fn new(list: UsageList, now: Timestamp) -> Self {
        let (number, at) = (list.images.len(), time_text(list.at));
        let images = if number == 1 { "1 image reference".to_owned() } else { format!("{number} image references") };
        let end = match list.until {
            None => "it holds until it is removed".to_owned(),
            Some(until) if list.has_ended(now) => {
                format!("ended {}, and keeps every replica: import it again, or remove it", time_text(until))
            }
            Some(until) => format!("until {}", time_text(until)),
        };
        let summary = format!("{}: {images} in use, by {}, {at}; {end}", list.name, list.by);
        let UsageList { name, by, at, until, .. } = list;
        Self { name, images: number, by, at, until, summary }
    }
}

/// The result of `usage lists`.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageLists {
    /// The lists, by name.
    pub lists: Vec<DescribedUsageList>,
}

/// The result of `usage import`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedUsage {
    /// The list.
    pub list: DescribedUsageList,
    /// The list of the same name that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<DescribedUsageList>,
}

/// The result of `usage remove`.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedUsage {
    /// The list that was removed.
    pub removed: DescribedUsageList,
}

/// Imports every reference to an image of ECR in a file, or in standard input if it is `-`.
///
/// # Errors
/// When the file cannot be read or has no such reference or too many, a reference is malformed, the end is over, or the
/// table cannot be used.
pub(crate) async fn import(
    table: &Table,
    path: &Path,
    name: &str,
    (by, until): (String, Option<Timestamp>),
    now: Timestamp,
) -> Result<ImportedUsage, CliError> {
    if let Some(until) = until.filter(|until| *until <= now) {
        return Err(answers::error::Error::EndIsOver { until: time_text(until) }.into());
    }
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|source| CliError::Unreadable { path: path.to_owned(), source })?;
    let images = references(&text).map_err(|problem| CliError::UsageList { path: path.to_owned(), problem })?;
    let list = UsageList { name: name.to_owned(), images, by, at: now, until };
    let replaced = table.usage_lists().await?.into_iter().find(|known| known.name == list.name);
    table.put_usage_list(&list).await?;
    let described = |list| DescribedUsageList::new(list, now);
    Ok(ImportedUsage { list: described(list), replaced: replaced.map(described) })
}

/// The lists.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn lists(table: &Table, now: Timestamp) -> Result<UsageLists, CliError> {
    let lists = table.usage_lists().await?.into_iter().map(|list| DescribedUsageList::new(list, now));
    Ok(UsageLists { lists: lists.collect() })
}

/// Removes a list.
///
/// # Errors
/// When there is no such list, or the table cannot be used.
pub(crate) async fn remove(table: &Table, name: &str, now: Timestamp) -> Result<RemovedUsage, CliError> {
    let known = table.usage_lists().await?.into_iter().find(|list| list.name == name);
    let known = known.ok_or_else(|| CliError::NoUsageList { name: name.to_owned() })?;
    table.delete_usage_list(name).await?;
    Ok(RemovedUsage { removed: DescribedUsageList::new(known, now) })
}

/// Every reference to an image of ECR in a text of any form: lines, JSON or YAML, such as what `kubectl get pods -o
/// json` prints.
fn references(text: &str) -> Result<BTreeSet<UsedImage>, String> {
    let mut images = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        for word in line.split(|character: char| character.is_whitespace() || "\"'`,;()[]{}<>=".contains(character)) {
            let found = UsedImage::all_in(word.trim_end_matches([':', '.']));
            images.extend(found.map_err(|error| format!("line {}: {}", number + 1, chain(&error)))?);
        }
    }
    match images.len() {
        0 => Err("it has no reference to an image of ECR".to_owned()),
        number if number > MAX_LISTED => Err(format!("it has {number} references; a list has at most {MAX_LISTED}")),
        _ => Ok(images),
    }
}

/// The name of a list, as an argument.
pub(crate) fn list_name(text: &str) -> Result<String, String> {
    if UsageList::is_name(text) { Ok(text.to_owned()) } else { Err("expected 1 to 64 of `a-z 0-9 . _ -`".to_owned()) }
}

impl Print for UsageLists {
    fn table(&self, width: Option<u16>) -> String {
        if self.lists.is_empty() {
            return "No list of images in use was imported.\n".to_owned();
        }
        self.lists.iter().map(|list| line(&list.summary, width)).collect()
    }
}

impl Print for ImportedUsage {
    fn table(&self, width: Option<u16>) -> String {
        let replaced = self.replaced.as_ref().map(|before| line(&format!("It replaces: {}", before.summary), width));
        let next =
            format!("No replica of these images is deleted. `ecr-lineage usage remove {}` ends it.", self.list.name);
        format!("{}{}{}", line(&self.list.summary, width), replaced.unwrap_or_default(), line(&next, width))
    }
}

impl Print for RemovedUsage {
    fn table(&self, width: Option<u16>) -> String {
        let what = format!("Removed: {}", self.removed.summary);
        line(&what, width)
    }
}

fn line(text: &str, width: Option<u16>) -> String {
    filled(text, ["", "  "], width) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_in_any_form() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com";
        let text = format!(
            "# images of the tills\n{host}/shop/till:v1\n\
             {{\"image\":\"{host}/shop/web:v2\",\"imageID\":\"docker-pullable://{host}/shop/web@{digest}\"}},\n\
             - image: {host}/shop/job\n- image: nginx:1\n"
        );
        let found: Vec<_> =
            references(&text).unwrap().iter().map(|image| image.to_string().replace(host, "")).collect();
        let by_digest = format!("/shop/web@{digest}");
        assert_eq!(found, ["/shop/job:latest", "/shop/till:v1", by_digest.as_str(), "/shop/web:v2"]);
        assert_eq!(references("nginx:1").unwrap_err(), "it has no reference to an image of ECR");
        let wrong = references(&format!("a\n{host}/Shop/web:v1")).unwrap_err();
        assert!(wrong.starts_with("line 2: `Shop/web` is not a repository name"), "{wrong}");
        let many: String = (0..=MAX_LISTED).map(|number| format!("{host}/shop/web:v{number}\n")).collect();
        assert_eq!(references(&many).unwrap_err(), "it has 2001 references; a list has at most 2000");
    }
}
