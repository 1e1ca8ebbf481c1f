//! Captures parts of a response that the SDK's types leave out.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecr::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse, interceptors::FinalizerInterceptorContextRef,
    },
    error::BoxError,
};

/// An interceptor that keeps a part of the response to a call.
#[derive(Debug, Clone)]
pub(crate) struct Capture<T> {
    part: fn(&HttpResponse) -> Option<T>,
    kept: Arc<Mutex<Option<T>>>,
}

impl<T> Capture<T> {
    /// Keeps the part of the response that this function returns.
    pub(crate) fn new(part: fn(&HttpResponse) -> Option<T>) -> Self {
        Self { part, kept: Arc::default() }
    }

    /// The captured part; `None` after the first call.
    pub(crate) fn take(&self) -> Option<T> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T: std::fmt::Debug + Send> Intercept for Capture<T> {
    fn name(&self) -> &'static str {
        "capture"
    }

    /// Only at this point is the whole body in memory.
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
