//! Who settles a delivery: whoever comes first, and only once.

use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::Receipt;

/// A receipt that the task of a delivery and the fence around it share.
#[derive(Debug, Clone, Default)]
pub(super) struct Settlement(Arc<Mutex<Option<Receipt>>>);

impl Settlement {
    pub(super) fn of(receipt: Receipt) -> Self {
        Self(Arc::new(Mutex::new(Some(receipt))))
    }

    fn take(&self) -> Option<Receipt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Done with it, if nobody said so before.
    pub(super) async fn ack(&self) {
        if let Some(receipt) = self.take() {
            receipt.ack().await;
        }
    }

    /// It can't be used, if nobody said anything else before.
    pub(super) async fn reject(&self) {
        if let Some(receipt) = self.take() {
            receipt.reject().await;
        }
    }

    /// Nobody can say: its connection is about to be closed, and it comes again.
    pub(super) fn abandon(&self) {
        drop(self.take());
    }
}
