"""Multi-image chat models of the transformers library: prompts as rows of tokens, images and prefixes computed once."""
