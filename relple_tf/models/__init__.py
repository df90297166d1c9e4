"""The network: front-end layers, and functional builders that take the Keras module."""
