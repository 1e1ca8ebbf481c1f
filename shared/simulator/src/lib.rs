#![doc = include_str!("../README.md")]

mod api;
mod backfill;
mod body;
pub mod clock;
mod creation_template;
mod distribution;
mod event;
pub mod keep;
mod layers;
mod lifecycle;
mod manifest;
mod model;
mod policy;
mod pull_through;
pub mod queue;
mod replication;
mod repository;
pub mod server;
pub mod settings;
mod sts;
pub mod trouble;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::image::{Image, Registry, Tag};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

pub use api::{ApiCaller, ApiError};
pub use repository::ImageStatus;
pub use world::Emitted;

use clock::{Clock, later};
use keep::Keep;
use layers::LayerStore;
use queue::{Backlog, Message};
use settings::Settings;
use trouble::CallFate;
use world::World;

/// Registries, their events, and the queue that receives the events. Clones share their state.
#[derive(Clone)]
pub struct Simulator {
    inside: Arc<Mutex<Inside>>,
    layers: Arc<LayerStore>,
    clock: Clock,
    changed: watch::Sender<()>,
    /// Whom to ask for steps of the clock.
    steps: Arc<Mutex<Option<mpsc::UnboundedSender<Step>>>>,
}

/// A step of the clock that a client waits for.
#[derive(Debug)]
pub struct Step {
    /// How far the clock moves.
    pub by: Duration,
    /// Answers the client.
    pub done: oneshot::Sender<()>,
}

/// The longest time between two calls of [`Simulator::keep_time`], of a real clock.
const UNSAVED: Duration = Duration::from_secs(5);

struct Inside {
    world: World,
    keep: Option<Keep>,
    failure: Option<keep::Error>,
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The status of the image.
    pub status: ImageStatus,
    /// The tags of the image.
    pub tags: BTreeSet<Tag>,
}

/// The answer to a call, if no simulated fault loses it.
fn answered(fate: CallFate, perform: impl FnOnce() -> api::ApiResult) -> Option<api::ApiResult> {
    match fate {
        CallFate::Answered => Some(perform()),
        CallFate::Throttled => Some(Err(ApiError::new("ThrottlingException", "Rate exceeded"))),
        CallFate::RequestLost => None,
        CallFate::ResponseLost => {
            _ = perform();
            None
        }
    }
}

impl Simulator {
    /// Opens registries in memory, or in a folder across restarts. With a folder, the clock continues from the saved
    /// time if that is ahead of `now`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(settings: Settings, now: Timestamp, speed: f64, folder: Option<&Path>) -> Result<Self, keep::Error> {
        let mut world = World::new(settings, Timestamp::UNIX_EPOCH);
        let keep = folder.map(|folder| Keep::open(folder, &mut world)).transpose()?;
        let layers = LayerStore::open(folder, |layer| world.content_size(layer).is_some());
        let layers = layers
            .map_err(|source| keep::Error::Folder { path: folder.unwrap_or(Path::new("")).to_owned(), source })?;
        let clock = Clock::new(now.max(world.now()), speed);
        let inside = Arc::new(Mutex::new(Inside { world, keep, failure: None }));
        let (changed, steps) = (watch::Sender::new(()), Arc::default());
        Ok(Self { inside, layers: Arc::new(layers), clock, changed, steps })
    }

    /// The clock that the whole process shares.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn locked(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes tasks that are due, performs `act`, and saves all changes before it returns.
    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut inside = self.locked();
        let Inside { world, keep, failure } = &mut *inside;
        world.advance(self.clock.now());
        let done = act(world);
        let unneeded = world.forget_contents();
        let changed = world.has_changed();
        match keep {
            None => world.forget_changes(),
            Some(keep) => {
                if let Err(error) = keep.save(world) {
                    failure.get_or_insert(error);
                }
            }
        }
        drop(inside);
        if changed {
            self.changed.send_replace(());
        }
        if !unneeded.is_empty() {
            let known = |layer: &_| self.locked().world.content_size(layer).is_some();
            self.layers.remove(unneeded, known);
        }
        done
    }

    /// Whether a change could not be saved: from then on nothing is acknowledged.
    fn has_failed(&self) -> bool {
        self.locked().failure.is_some()
    }

    /// Performs one operation as a call over HTTP would, with the JSON body of a request. Returns nothing if a
    /// simulated fault loses the request or the response.
    #[must_use]
    pub fn call(&self, caller: &ApiCaller, operation: &str, body: &[u8]) -> Option<Result<Value, ApiError>> {
        // The work that grows with the request is done outside of the world's lock.
        let request = model::check(operation, body);
        let answer = match api::layers::operation(operation) {
            None => self.with(|world| {
                let fate = world.fate_of_call();
                answered(fate, || api::call(world, caller, operation, request))
            }),
            // Content is moved outside of the world's lock.
            Some(perform) => answered(self.with(World::fate_of_call), || perform(self, caller, &request.body?)),
        };
        if self.has_failed() {
            return Some(Err(ApiError::new("ServerException", "the registries cannot be saved")));
        }
        answer
    }

    /// Changes the settings from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.with(|world| change(&mut world.settings));
    }

    /// Moves the clock forward, and processes all tasks that are due then.
    pub fn step(&self, by: Duration) {
        self.clock.step(by);
        self.keep_time();
    }

    /// Steps that clients ask for, from now on: the receiver of one makes it, does what is due then, and answers.
    #[must_use]
    pub fn steps(&self) -> mpsc::UnboundedReceiver<Step> {
        let (asks, asked) = mpsc::unbounded_channel();
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = Some(asks);
        asked
    }

    /// Moves the clock forward, and waits until everything that is due then is done, by those who asked for steps, too.
    pub(crate) async fn step_through(&self, by: Duration) {
        let (done, is_done) = oneshot::channel();
        let step = Step { by, done };
        let asks = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match asks.map(|asks| asks.send(step)) {
            Some(Ok(())) => _ = is_done.await,
            _ => self.step(by),
        }
    }

    /// Saves the time, so that the clock does not go back after a restart; of a fast clock, a time that is ahead by what
    /// passes until it is saved again.
    pub fn keep_time(&self) {
        let speed = self.clock.speed();
        let ahead = if speed > 1.0 { UNSAVED.as_secs_f64() * speed } else { 0.0 };
        let ahead = SignedDuration::try_from_secs_f64(ahead).unwrap_or_default();
        self.with(|world| world.keep_time(later(world.now(), ahead)));
    }

    /// Processes tasks when they are due. Returns only when a change cannot be saved.
    pub async fn run(&self) -> keep::Error {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let next = {
                let mut inside = self.locked();
                if let Some(failure) = inside.failure.take() {
                    return failure;
                }
                inside.world.next()
            };
            tokio::select! {
                () = self.clock.wait_until(next.unwrap_or(Timestamp::MAX)) => self.with(|_| ()),
                _ = changed.changed() => {}
            }
        }
    }

    /// Waits until a message can be received.
    pub async fn wait_for_messages(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let next = self.locked().world.queue().next();
            if next.is_some_and(|next| next <= self.clock.now()) {
                return;
            }
            tokio::select! {
                () = self.clock.wait_until(next.unwrap_or(Timestamp::MAX)) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Receives up to `most` events that are visible now: each at least once, in no order. A message that is not
    /// deleted is received again after [`queue::VISIBILITY_TIMEOUT`]; after [`queue::MAX_RECEIVES`] receives it moves
    /// to the dead-letter queue.
    #[must_use]
    pub fn receive_now(&self, most: usize) -> Vec<Message> {
        // A fast clock does not make the receiver faster.
        let hidden = queue::VISIBILITY_TIMEOUT.as_secs_f64() * self.clock.speed().max(1.0);
        let hidden = SignedDuration::try_from_secs_f64(hidden).unwrap_or(SignedDuration::MAX);
        self.with(|world| world.receive(most, hidden))
    }

    /// Makes every message that was received and not deleted visible again: when the process begins, no receiver has it.
    pub fn return_received(&self) {
        self.with(World::return_received);
    }

    /// Deletes messages from the queue, as a consumer does after it processed them.
    pub fn delete(&self, messages: impl IntoIterator<Item = u64>) {
        self.with(|world| messages.into_iter().for_each(|id| world.delete_message(id)));
    }

    /// Sends a heartbeat of each registry through the same topics and the same queue as its events.
    pub fn send_heartbeats(&self) {
        self.with(World::send_heartbeats);
    }

    /// What waits for `record`.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.with(|world| world.queue().backlog(world.now()))
    }

    /// The number of messages in the queue, and in the dead-letter queue.
    #[must_use]
    pub fn queue_lengths(&self) -> (usize, usize) {
        let Backlog { waiting, dead, .. } = self.backlog();
        (waiting, dead)
    }

    /// The time of the next task or visible message: a copy arrives, a policy is evaluated, a message can be received.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.with(|world| [world.next(), world.queue().next()].into_iter().flatten().min())
    }

    /// The events emitted after the one with this number, oldest first, including lost ones; at most the newest 10,000.
    #[must_use]
    pub fn emitted(&self, after: u64) -> Vec<Emitted> {
        self.with(|world| world.emitted().filter(|emitted| emitted.number > after).cloned().collect())
    }

    /// Every image in every registry.
    #[must_use]
    pub fn held(&self) -> BTreeMap<(Registry, Image), Held> {
        self.with(|world| {
            let repositories = world.repositories().iter();
            let images = repositories.flat_map(|(place, repository)| {
                repository.images().iter().map(|(digest, image)| {
                    let name = Image { repository: place.repository.clone(), digest: digest.clone() };
                    let held = Held { status: image.state.status, tags: image.state.tags.clone() };
                    ((place.registry.clone(), name), held)
                })
            });
            images.collect()
        })
    }
}
