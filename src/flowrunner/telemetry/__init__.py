"""What FlowRunner tells about itself: metrics and logs."""
