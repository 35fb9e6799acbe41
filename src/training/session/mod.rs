//! fit() opened up: the client writes the training loop, the server differentiates.
//!
//! A call that changes a session is answered once its state is in a file: what was answered is there after the process
//! is killed at any moment. See `store/sessions.rs` for what a power cut may take.

mod call;
mod documents;
mod open_session;
mod options;
mod registry;
mod requests;
mod save;
mod sequence;
mod state;
pub mod tensors;

pub use call::{Answer, Batch, Call, GradientsAnswer, Outputs, StepAnswer, TrainOnBatchAnswer};
pub use documents::{
    ApplyGradientsRequest, ForwardRequest, GradientsRequest, MAX_STEPS, MAX_WHOLE, SetWeightsRequest,
    TrainOnBatchRequest,
};
pub use options::SessionOptions;
pub use registry::{Applied, Sessions};
pub use requests::{FromModel, NewNetwork, NewSession};
