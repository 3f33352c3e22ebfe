"""Tests in a real browser: a JupyterLab server on the loopback address, driven with the system's Chromium."""
