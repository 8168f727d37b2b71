"""Node embedding, h_i^0 = F(I_i): one file an encoder, each an option of ``backbone.name``."""
