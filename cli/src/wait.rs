//! `where` and `wait`: whether an image is where it should be, and until it is.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use answers::{
    error::Error,
    presence::{self, Outcome, Place, Presence},
    reference::{Reference, TagReference},
};
use domain::image::{Digest, Registry, Tag};
use jiff::SignedDuration;
use retry::chain;
use tokio::time::{Instant, sleep};

use crate::{
    failure::CliError,
    now,
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
    let found = presence::presence(&target.table, image, places, now::now()).await?;
    crate::print(format, &found)?;
    Ok(if found.is_everywhere() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until an image is in every registry where it should be, and prints each registry as it arrives.
///
/// Ends with 0 if it is in all of them, with 1 as soon as a copy failed or was deleted, and with 3 when the time is
/// over.
pub(crate) async fn wait(target: &Target, options: &WaitOptions, format: Format) -> Result<ExitCode, CliError> {
    let ends = Instant::now() + unsigned(options.timeout);
    let mut waiting =
        Waiting { target, options, arrived: BTreeSet::new(), next_question: Instant::now(), pushed: None, said: None };
    loop {
        let found = waiting.look().await?;
        let now = Instant::now();
        if let Some(found) = &found {
            waiting.print_new(found, format)?;
        }
        let code = match found.as_ref().map(Presence::outcome) {
            Some(Outcome::Arrived) => ExitCode::SUCCESS,
            Some(Outcome::Failed) => ExitCode::FAILURE,
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
                    crate::write(&print::fitted(&line(one, print::width()), print::width()))?;
                }
                for registry in &found.rules_unknown {
                    waiting
                        .say(&format!("the replication rules of {registry} are not known: name registries by `--in`"));
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
    /// The image that the tag means in its registry, as ECR said last.
    pushed: Option<Digest>,
    said: Option<String>,
}

impl Waiting<'_> {
    /// What the table says, corrected by what ECR says; `None` if the image is not known yet.
    async fn look(&mut self) -> Result<Option<Presence>, CliError> {
        let WaitOptions { image, places, .. } = self.options;
        let asks = Instant::now() >= self.next_question;
        if asks {
            self.next_question = Instant::now() + ASK_EVERY;
        }
        match presence::presence(&self.target.table, image, places, now::now()).await {
            Ok(found) if self.is_outdated(&found, asks).await => Ok(self.by_ecr().await),
            Ok(mut found) => {
                if asks && !found.is_everywhere() {
                    self.ask_ecr(&mut found).await;
                }
                Ok(Some(found))
            }
            Err(Error::UnknownTag { .. } | Error::UnknownImage { .. } | Error::PastTag { .. }) => {
                Ok(self.by_ecr().await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the tag means another image in its registry than the table knows: its push is not recorded yet. Only a
    /// reference that names its registry can be compared.
    async fn is_outdated(&mut self, found: &Presence, asks: bool) -> bool {
        let Reference::Tagged(TagReference { name, registry: Some(source) }) = &self.options.image else {
            return false;
        };
        if asks {
            match self.target.registries().digest_of_tag(source, &name.repository, &name.tag).await {
                Ok(pushed) => self.pushed = pushed,
                Err(failure) => self.say(&format!("{source} cannot be asked: {}", chain(&failure))),
            }
        }
        self.pushed.as_ref().is_some_and(|pushed| *pushed != found.image.digest)
    }

    /// Asks ECR about what the table does not have.
    async fn ask_ecr(&mut self, found: &mut Presence) {
        let registries = self.target.registries();
        for source in found.pushed_to.clone() {
            if let Err(failure) = presence::ask_ecr(&registries, found, &source, self.tag()).await {
                self.say(&format!("{source} cannot be asked, only events are waited for: {}", chain(&failure)));
            }
        }
    }

    /// What ECR says about an image whose push is not recorded, if the reference names its registry.
    async fn by_ecr(&mut self) -> Option<Presence> {
        let Reference::Tagged(tagged) = &self.options.image else { return None };
        let Some(source) = &tagged.registry else {
            self.say(&format!("`{}` is not recorded yet", self.options.image));
            return None;
        };
        let found = presence::presence_by_ecr(&self.target.registries(), tagged, source, &self.options.places).await;
        found.unwrap_or_else(|failure| {
            self.say(&format!("{source} cannot be asked: {}", chain(&failure)));
            None
        })
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
                crate::write(&print::fitted(&line(one, print::width()), print::width()))?;
            }
        }
        Ok(())
    }

    /// Says something once, on standard error.
    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) && !crate::output::is_quiet() {
            anstream::eprintln!("{text}");
            self.said = Some(text.to_owned());
        }
    }
}
