"""Adapters that keep logs; they implement `ports.EventStore`."""
