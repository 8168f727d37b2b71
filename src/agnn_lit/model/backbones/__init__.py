"""Node embedding, h_i^0 = F(I_i): one file per encoder, each an option of ``backbone.name``."""
