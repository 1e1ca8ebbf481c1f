//! What the SDK's types leave out of an answer.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecr::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse, interceptors::FinalizerInterceptorContextRef,
    },
    error::BoxError,
};

/// Keeps a part of the answer to a call.
#[derive(Debug, Clone)]
pub(crate) struct Capture<T> {
    part: fn(&HttpResponse) -> Option<T>,
    kept: Arc<Mutex<Option<T>>>,
}

impl<T> Capture<T> {
    /// Keeps this part.
    pub(crate) fn new(part: fn(&HttpResponse) -> Option<T>) -> Self {
        Self { part, kept: Arc::default() }
    }

    /// What was kept, once.
    pub(crate) fn take(&self) -> Option<T> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T: std::fmt::Debug + Send> Intercept for Capture<T> {
    fn name(&self) -> &'static str {
        "capture"
    }

    /// Only now the whole body is in memory.
    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let part = context.response().and_then(self.part);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = part;
        Ok(())
    }
}
