"""What several tasks use: steppers, signatures, scores, and the device's abilities over Keras."""
