//! The outbox room.
