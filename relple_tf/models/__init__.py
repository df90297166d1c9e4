"""The layers of the deployed model, and one functional builder per network architecture."""
