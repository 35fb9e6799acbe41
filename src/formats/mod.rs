//! File formats of others. Tensors only: nothing that is read here can carry code.

pub mod safetensors;
