//! One clock for everything in the process: as fast as the wall's, faster, or standing until it is stepped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A clock that all its clones share.
#[derive(Debug, Clone)]
pub struct Clock {
    state: Arc<Mutex<State>>,
    stepped: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// What it showed …
    shown: Timestamp,
    /// … at this instant.
    at: Instant,
    speed: f64,
}

/// The longest that a waiter sleeps without looking at the clock again.
const NAP: Duration = Duration::from_secs(3600);

impl Clock {
    /// A clock that shows a time now. It runs `speed` times as fast as the wall's; with 0 it stands until it is stepped.
    #[must_use]
    pub fn new(shown: Timestamp, speed: f64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State { shown, at: Instant::now(), speed })),
            stepped: watch::Sender::new(()),
        }
    }

    /// The time it shows. It never goes back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.read().0
    }

    fn read(&self) -> (Timestamp, f64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.at.elapsed().as_secs_f64() * state.speed;
        (later(state.shown, SignedDuration::try_from_secs_f64(passed).unwrap_or(SignedDuration::MAX)), state.speed)
    }

    /// Moves it on at once.
    pub fn step(&self, by: Duration) {
        let (now, _) = self.read();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.shown = later(now, SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
            state.at = Instant::now();
        }
        self.stepped.send_replace(());
    }

    /// Waits until it shows a time.
    pub async fn wait_until(&self, time: Timestamp) {
        let mut stepped = self.stepped.subscribe();
        loop {
            let (now, speed) = self.read();
            if now >= time {
                return;
            }
            let left = time.duration_since(now).as_secs_f64() / speed;
            // Without speed there is no time left to sleep, only steps to wait for. A little more than is left: a
            // waiter that wakes early would wake again and again.
            let nap = Duration::try_from_secs_f64(left).map_or(NAP, |left| NAP.min(left + Duration::from_micros(500)));
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = stepped.changed() => {}
            }
        }
    }
}

/// A time and a while after it; the end of time, if that is beyond it.
#[must_use]
pub fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_by_steps() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, 0.0);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        clock.clone().step(Duration::from_secs(60));
        assert_eq!(clock.now().as_second(), 60);
    }

    #[test]
    fn a_fast_clock_runs_faster_than_the_wall() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, 1e6);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now().as_second() >= 2_000);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_a_step() {
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
