"""Layers for images and for tokens of images: attention without a softmax, convolution of circuits."""

#: The modules that other folders import.
__all__ = ["attention", "conv"]
