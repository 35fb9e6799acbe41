//! Trained models in memory, and all that is asked of them: predictions, explanations, evaluations.

mod attribute;
mod cache;
mod evaluate;
mod explain;
mod models;
mod predict_csv;
mod prediction;
mod predictor;

pub use attribute::{Attributions, Contributions};
pub use evaluate::{ConfusionMatrix, Evaluation};
pub use explain::{Detail, Explanation, LayerOutputs};
pub use models::Serving;
pub use prediction::{ClassPrediction, Label, Prediction, Predictions, Probabilities, ValuePrediction};
pub use predictor::Predictor;
