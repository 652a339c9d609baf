"""The console proxy: from a browser's WebSocket to a guest's screen or serial port on its host."""
