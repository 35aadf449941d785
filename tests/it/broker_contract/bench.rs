//! A broker to try, of either kind.

use redrive::{
    broker::{Broker, Delivery, Dispatch, InProcess, Lanes, Message},
    domain::Lane,
};

use crate::support::broker::{Consumer, Place};

/// Messages of a lane that are here at once.
pub(super) const PREFETCH: u16 = 8;

/// Messages of a lane that the queue inside the process holds.
pub(super) const CAPACITY: usize = 128;

pub(super) struct Bench {
    pub(super) broker: Broker,
    /// None for the queue inside the process.
    pub(super) shared: Option<(Place, Consumer)>,
}

impl Bench {
    pub(super) fn in_process() -> Self {
        Self {
            broker: Broker::InProcess(InProcess::new(CAPACITY)),
            shared: None,
        }
    }

    pub(super) async fn rabbitmq() -> Self {
        let place = Place::shared().await;
        let consumer = Consumer::start(&place.config(), PREFETCH);
        Self {
            broker: consumer.broker(),
            shared: Some((place, consumer)),
        }
    }

    pub(super) async fn publish(&self, lane: Lane, dispatch: Dispatch) {
        crate::support::broker::publish(&self.broker, lane, dispatch).await;
    }

    pub(super) async fn next(&self, lanes: Lanes) -> Delivery {
        crate::support::broker::next(&self.broker, lanes).await
    }

    /// Nothing is left anywhere, and nothing stays behind.
    pub(super) async fn finish(self) {
        assert_eq!(self.broker.drain(), []);
        let Some((place, consumer)) = self.shared else {
            return;
        };
        consumer.stop().await;
        for lane in Lane::ALL {
            place.until_ready(&place.queue(lane), 0).await;
        }
        place.until_ready(&place.dead_queue(), 0).await;
        place.remove().await;
    }
}

/// The message inside a delivery.
pub(super) fn dispatch_of(delivery: &Delivery) -> &Dispatch {
    match &delivery.message {
        Message::Dispatch(dispatch) => dispatch,
        Message::Intent(intent) => panic!("not one of ours: {intent:?}"),
    }
}

/// The run that a delivery is about.
pub(super) fn run_of(delivery: &Delivery) -> String {
    dispatch_of(delivery).run_id.to_string()
}
