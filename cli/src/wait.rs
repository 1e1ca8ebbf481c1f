//! `where` and `wait`: whether an image is where it should be, and until it is.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use answers::{
    error::Error,
    presence::{self, Place, Presence},
    reference::Reference,
};
use domain::image::{Registry, Tag};
use jiff::{SignedDuration, Timestamp};
use retry::chain;
use tokio::time::{Instant, sleep};

use crate::{
    failure::CliError,
    options::{Format, WaitOptions},
    print::{self, presence::line},
    target::Target,
};

/// The exit code of `wait` when the time is over.
const TIMED_OUT: u8 = 3;

/// The time between two reads of the table.
const PAUSE: Duration = Duration::from_secs(5);

/// The time between two questions to ECR about an image: a copy whose event is lost is noticed, and calls are few.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// Answers `where`: fails unless the image is in every registry where it should be.
pub(crate) async fn where_is(
    target: &Target,
    image: &Reference,
    places: &[Place],
    format: Format,
) -> Result<ExitCode, CliError> {
    let found = presence::presence(&target.table, image, places, Timestamp::now()).await?;
    crate::print(format, &found)?;
    Ok(if found.is_everywhere() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until an image is in every registry where it should be, and prints each registry as it arrives.
///
/// Ends with 0 if it is in all of them, with 1 as soon as a copy failed or was deleted, and with 3 when the time is
/// over.
pub(crate) async fn wait(target: &Target, options: &WaitOptions, format: Format) -> Result<ExitCode, CliError> {
    let ends = Instant::now() + unsigned(options.timeout);
    let mut waiting = Waiting { target, options, arrived: BTreeSet::new(), next_question: Instant::now(), said: None };
    loop {
        let found = waiting.look().await?;
        let now = Instant::now();
        if let Some(found) = &found {
            waiting.print_new(found, format)?;
        }
        let code = match &found {
            Some(found) if found.is_everywhere() => ExitCode::SUCCESS,
            Some(found) if found.failed().next().is_some() => ExitCode::FAILURE,
            _ if now >= ends => ExitCode::from(TIMED_OUT),
            _ => {
                sleep(PAUSE.min(ends - now)).await;
                continue;
            }
        };
        match (found, format) {
            (Some(found), Format::Json) => crate::print(format, &found)?,
            (Some(found), _) => {
                for one in found.registries.iter().filter(|one| one.wanted && !one.there) {
                    crate::write(&line(one, print::width()))?;
                }
            }
            (None, _) => waiting.say(&format!("`{}` was not pushed, as far as is known", options.image)),
        }
        if code == ExitCode::from(TIMED_OUT) {
            waiting.say("the time is over");
        }
        return Ok(code);
    }
}

fn unsigned(duration: SignedDuration) -> Duration {
    duration.unsigned_abs()
}

/// What was printed while waiting.
struct Waiting<'a> {
    target: &'a Target,
    options: &'a WaitOptions,
    arrived: BTreeSet<Registry>,
    next_question: Instant,
    said: Option<String>,
}

impl Waiting<'_> {
    /// What the table says, corrected by what ECR says; `None` if the image is not known yet.
    async fn look(&mut self) -> Result<Option<Presence>, CliError> {
        let WaitOptions { image, places, .. } = self.options;
        match presence::presence(&self.target.table, image, places, Timestamp::now()).await {
            Ok(mut found) => {
                self.ask_ecr(&mut found).await;
                Ok(Some(found))
            }
            Err(Error::UnknownTag { .. } | Error::UnknownImage { .. } | Error::PastTag { .. }) => self.by_ecr().await,
            Err(error) => Err(error.into()),
        }
    }

    /// Asks ECR about what the table does not have, at most every [`ASK_EVERY`].
    async fn ask_ecr(&mut self, found: &mut Presence) {
        if found.is_everywhere() || Instant::now() < self.next_question {
            return;
        }
        self.next_question = Instant::now() + ASK_EVERY;
        let registries = self.target.registries();
        for source in found.pushed_to.clone() {
            if let Err(failure) = presence::ask_ecr(&registries, found, &source, self.tag()).await {
                self.say(&format!("{source} cannot be asked, only events are waited for: {}", chain(&failure)));
            }
        }
    }

    /// What ECR says about an image of which nothing is recorded, if the reference names its registry.
    async fn by_ecr(&mut self) -> Result<Option<Presence>, CliError> {
        let Reference::Tagged(tagged) = &self.options.image else { return Ok(None) };
        let Some(source) = &tagged.registry else {
            self.say(&format!("`{}` is not recorded yet", self.options.image));
            return Ok(None);
        };
        let found = presence::presence_by_ecr(&self.target.registries(), tagged, source, &self.options.places).await;
        found.map_err(|error| CliError::Registry { what: "read the image", registry: source.clone(), source: error })
    }

    fn tag(&self) -> Option<&Tag> {
        match &self.options.image {
            Reference::Tagged(tagged) => Some(&tagged.name.tag),
            Reference::Exact(_) | Reference::Short { .. } => None,
        }
    }

    /// Prints the registries that have the image now and did not before.
    fn print_new(&mut self, found: &Presence, format: Format) -> Result<(), CliError> {
        for one in found.registries.iter().filter(|one| one.there) {
            if self.arrived.insert(one.registry.clone()) && format == Format::Table {
                crate::write(&line(one, print::width()))?;
            }
        }
        Ok(())
    }

    /// Says something once, on standard error.
    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            anstream::eprintln!("{text}");
            self.said = Some(text.to_owned());
        }
    }
}
