"""What a trained network computes on an image: dissection, influence, class maps, explanation, ablation, localization."""
