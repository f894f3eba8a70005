//! One file per table: all SQL, and nothing but SQL and rows.

pub mod agent;
pub mod archived;
pub mod attempt;
pub mod audit;
pub mod credential;
pub mod grant;
pub mod housekeeping;
pub mod inbox;
pub mod kept;
pub mod notification;
pub mod outbox;
pub mod preset;
pub mod refusal;
pub mod scope;
pub mod seal;
pub mod tenant;
pub mod token;
pub mod tree;
pub mod user;
