"""What a person starts and waits for: deploy, resize, teardown, image, backup, status and others."""
