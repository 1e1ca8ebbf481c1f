//! The clock that the whole process shares: at real time, faster, or stopped until it is stepped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A clock; its clones share their state.
#[derive(Debug, Clone)]
pub struct Clock {
    state: Arc<Mutex<State>>,
    stepped: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// The time that the clock showed …
    shown: Timestamp,
    /// … at this instant.
    at: Instant,
    speed: f64,
}

/// The longest sleep of a waiter before it reads the clock again.
const NAP: Duration = Duration::from_secs(3600);

impl Clock {
    /// A clock that shows `shown` now. It runs `speed` times as fast as real time; with 0 it stops until it is stepped.
    #[must_use]
    pub fn new(shown: Timestamp, speed: f64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State { shown, at: Instant::now(), speed })),
            stepped: watch::Sender::new(()),
        }
    }

    /// The current time. It never goes back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.read().0
    }

    /// How fast it runs, as a multiple of real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.read().1
    }

    fn read(&self) -> (Timestamp, f64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.at.elapsed().as_secs_f64() * state.speed;
        (later(state.shown, SignedDuration::try_from_secs_f64(passed).unwrap_or(SignedDuration::MAX)), state.speed)
    }

    /// Moves the clock forward at once.
    pub fn step(&self, by: Duration) {
        let (now, _) = self.read();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.shown = later(now, SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
            state.at = Instant::now();
        }
        self.stepped.send_replace(());
    }

    /// Waits until the clock shows a time or a later one.
    pub async fn wait_until(&self, time: Timestamp) {
        let mut stepped = self.stepped.subscribe();
        loop {
            let (now, speed) = self.read();
            if now >= time {
                return;
            }
            let left = time.duration_since(now).as_secs_f64() / speed;
            // At speed 0 only steps move the clock, so the sleep is the longest one. Otherwise sleep a little longer
            // than needed: a waiter that wakes early would wake again and again.
            let nap = Duration::try_from_secs_f64(left).map_or(NAP, |left| NAP.min(left + Duration::from_micros(500)));
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = stepped.changed() => {}
            }
        }
    }
}

/// The sum of a time and a duration; the largest timestamp on overflow.
#[must_use]
pub fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_advances_only_by_steps() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, 0.0);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        clock.clone().step(Duration::from_secs(60));
        assert_eq!(clock.now().as_second(), 60);
    }

    #[test]
    fn a_fast_clock_runs_faster_than_real_time() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, 1e6);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now().as_second() >= 2_000);
    }

    #[tokio::test]
    async fn a_step_wakes_a_waiting_task() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, 0.0);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(Timestamp::from_second(10).unwrap()).await }
        });
        tokio::task::yield_now().await;
        clock.step(Duration::from_secs(5));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.step(Duration::from_secs(5));
        waiting.await.unwrap();
    }
}
