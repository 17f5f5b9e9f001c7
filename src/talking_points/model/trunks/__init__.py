"""Image trunks: four feature maps of a photo, at strides 4, 8, 16 and 32."""
