# Repeats the prespecified primary analysis of a reading study and compares it with DeepMiner.
# Run: Rscript @SCRIPT@ (beside its data). Base R suffices; geepack and pROC, where installed, give
# a second value of the same quantity.

settings <- list(
@SETTINGS@
)
# Results of DeepMiner; NA where it gives none.
expected <- c(
@EXPECTED@
)

arguments <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", arguments[grep("^--file=", arguments)])
folder <- if (length(script) == 1) dirname(script) else "."
answers <- read.csv(file.path(folder, settings$data), colClasses = c(reader = "character"))

# Missing answers by the prespecified rule.
missing <- is.na(answers$answer)
if (settings$missing_answers == "complete_case") {
  answers <- answers[!missing, ]
} else {
  answers$answer[missing] <- ifelse(answers$malignant[missing] == 1, 1, settings$scale)
}
answers$correct <- as.integer((answers$answer >= settings$threshold) == (answers$malignant == 1))
primary <- answers[answers$arm == settings$arms[1], ]
alpha <- settings$alpha
one_sided <- settings$side == "greater"
# A one-sided bound of level 1 - alpha is that of a two-sided interval of level 1 - 2 alpha.
level <- if (one_sided) 1 - 2 * alpha else 1 - alpha

# Result of a statistic against its law: estimate, P of the prespecified side, interval.
result <- function(estimate, greater, low, high) {
  p <- if (one_sided) greater else 2 * min(greater, 1 - greater)
  c(estimate = estimate, p_value = p, low = low, high = if (one_sided) 1 else high)
}

exact_binomial <- function() {
  successes <- sum(primary$correct)
  side <- if (one_sided) "greater" else "two.sided"
  test <- binom.test(successes, nrow(primary), 0.5, alternative = side)
  bounds <- binom.test(successes, nrow(primary), 0.5, conf.level = level)$conf.int
  c(
    estimate = successes / nrow(primary), p_value = test$p.value,
    low = bounds[1], high = if (one_sided) 1 else bounds[2]
  )
}

# Patient sign-flip test: each patient's right minus wrong answers are as likely with the opposite
# sign. The interval of this analysis is a bootstrap, which another generator does not repeat.
sign_flip <- function() {
  difference <- tapply(2 * primary$correct - 1, primary$patient, sum)
  observed <- sum(difference)
  sizes <- abs(difference[difference != 0])
  if (sum(sizes) > settings$exact_limit) {
    z <- observed / sqrt(sum(sizes^2))
    greater <- pnorm(z, lower.tail = FALSE)
    both <- 2 * pnorm(abs(z), lower.tail = FALSE)
  } else {
    # probability[k]: of the sum k - 1 of the sizes with a positive sign
    probability <- 1
    for (size in sizes) {
      shifted <- c(rep(0, size), probability)
      probability <- (c(probability, rep(0, size)) + shifted) / 2
    }
    total <- 2 * (seq_along(probability) - 1) - sum(sizes)
    greater <- sum(probability[total >= observed])
    both <- sum(probability[abs(total) >= abs(observed)])
  }
  c(
    estimate = mean(primary$correct), p_value = if (one_sided) greater else both,
    low = NA, high = NA
  )
}

# Binomial GEE of one mean: exchangeable working correlation, robust variance times m / (m - 1) and
# m - 1 degrees of freedom for m patients. Where all answers are equal: m exact binomial answers.
gee <- function() {
  sums <- as.vector(tapply(primary$correct, primary$patient, sum))
  sizes <- as.vector(tapply(primary$correct, primary$patient, length))
  m <- length(sizes)
  if (sum(sums) %in% c(0, sum(sizes))) {
    equal <- if (sum(sums) == 0) 0 else m
    side <- if (one_sided) "greater" else "two.sided"
    bounds <- binom.test(equal, m, 0.5, conf.level = level)$conf.int
    return(c(
      estimate = equal / m, p_value = binom.test(equal, m, 0.5, alternative = side)$p.value,
      low = bounds[1], high = if (one_sided) 1 else bounds[2]
    ))
  }
  correlation <- 0
  for (iteration in 1:1000) {
    weight <- 1 / (1 + (sizes - 1) * correlation)
    mean_ <- sum(weight * sums) / sum(weight * sizes)
    # Sums of squared residuals and of products of residuals of one patient, since answers are 0/1.
    squares <- sums * (1 - 2 * mean_) + sizes * mean_^2
    products <- ((sums - sizes * mean_)^2 - squares) / 2
    pairs <- sum(sizes * (sizes - 1) / 2)
    previous <- correlation
    correlation <- if (pairs == 0) 0 else (sum(products) / pairs) / (sum(squares) / sum(sizes))
    if (abs(correlation - previous) < 1e-13) break
  }
  weight <- 1 / (1 + (sizes - 1) * correlation)
  mean_ <- sum(weight * sums) / sum(weight * sizes)
  error <- sqrt(sum(weight^2 * (sums - sizes * mean_)^2)) / sum(weight * sizes)
  error <- error / (mean_ * (1 - mean_))
  if (requireNamespace("geepack", quietly = TRUE)) {
    ordered <- primary[order(primary$patient), ]
    ordered$cluster <- as.integer(factor(ordered$patient))
    fit <- geepack::geeglm(
      correct ~ 1, id = cluster, data = ordered, family = binomial, corstr = "exchangeable"
    )
    cat(sprintf(
      "geepack: proportion %.6f, robust standard error of the logit %.6f (here %.6f)\n",
      plogis(coef(fit)[[1]]), summary(fit)$coefficients[1, "Std.err"], error
    ))
  }
  centre <- qlogis(mean_)
  error <- error * sqrt(m / (m - 1))
  half <- qt((1 + level) / 2, m - 1) * error
  result(
    mean_, pt(centre / error, m - 1, lower.tail = FALSE),
    plogis(centre - half), plogis(centre + half)
  )
}

# Placements of the ratings: for each malignant answer the share of benign ones below, ties 1/2.
placements <- function(rating, malignant) {
  positive <- rating[malignant == 1]
  negative <- rating[malignant == 0]
  wins <- outer(positive, negative, ">") + 0.5 * outer(positive, negative, "==")
  list(positive = rowMeans(wins), negative = colMeans(wins), area = mean(wins))
}

# AUC of the ratings with patients as clusters: Obuchowski (1997) in its jackknife form, t interval
# on the logit scale.
auc <- function() {
  placed <- placements(primary$answer, primary$malignant)
  if (requireNamespace("pROC", quietly = TRUE)) {
    curve <- pROC::roc(primary$malignant, primary$answer, levels = 0:1, direction = "<")
    cat(sprintf("pROC: AUC %.6f (here %.6f)\n", as.numeric(pROC::auc(curve)), placed$area))
  }
  patient <- factor(primary$patient)
  by_patient <- function(values, rows) {
    total <- tapply(values - placed$area, patient[rows], sum)
    total[is.na(total)] <- 0
    as.vector(total) / length(values)
  }
  a <- by_patient(placed$positive, primary$malignant == 1)
  b <- by_patient(placed$negative, primary$malignant == 0)
  patients <- nlevels(patient)
  m <- length(unique(patient[primary$malignant == 1]))
  n <- length(unique(patient[primary$malignant == 0]))
  cross <- 2 * patients / (patients - 1) * sum(a * b)
  v10 <- m / (m - 1) * sum(a^2)
  v01 <- n / (n - 1) * sum(b^2)
  plain <- v10 + v01 + cross
  variance <- m / (m - 1) * v10 + n / (n - 1) * v01 + cross
  normal <- max(plain^2 / (v10^2 / (m - 1) + v01^2 / (n - 1)), min(m, n) - 1)
  spread <- max(sum(a^4) - sum(a^2)^2 / m, 0) + max(sum(b^4) - sum(b^2)^2 / n, 0)
  moments <- if (spread > 0) 2 * plain^2 / spread else Inf
  df <- max(min(moments, normal), min(m, n) / 2)
  error <- sqrt(variance) / (placed$area * (1 - placed$area))
  centre <- qlogis(placed$area)
  half <- qt((1 + level) / 2, df) * error
  result(
    placed$area, pt(centre / error, df, lower.tail = FALSE),
    plogis(centre - half), plogis(centre + half)
  )
}

# Difference in mean AUC between the first two arms: Obuchowski-Rockette with Hillis' degrees of
# freedom, jackknife covariances over images or patients.
auc_difference <- function() {
  arms <- lapply(settings$arms[1:2], function(arm) answers[answers$arm == arm, ])
  readers <- sort(intersect(arms[[1]]$reader, arms[[2]]$reader))
  images <- intersect(arms[[1]]$image, arms[[2]]$image)
  rating <- function(arm, reader, image) {
    rows <- arm[arm$reader == reader, ]
    rows$answer[match(image, rows$image)]
  }
  complete <- sapply(images, function(image) {
    !anyNA(unlist(lapply(arms, function(arm) sapply(readers, rating, arm = arm, image = image))))
  })
  images <- images[complete]
  described <- arms[[1]][match(images, arms[[1]]$image), ]
  scores <- lapply(arms, function(arm) {
    sapply(readers, function(reader) rating(arm, reader, images))
  })
  areas <- function(keep) {
    sapply(scores, function(table) {
      apply(table[keep, , drop = FALSE], 2, function(x) {
        placements(x, described$malignant[keep])$area
      })
    })
  }
  r <- length(readers)
  area <- matrix(areas(rep(TRUE, length(images))), nrow = r)
  unit <- described[[settings$unit]]
  left_out <- sapply(unique(unit), function(one) as.vector(areas(unit != one)))
  units <- ncol(left_out)
  centred <- left_out - rowMeans(left_out)
  covariance <- (units - 1) / units * centred %*% t(centred)
  arm_of <- rep(1:2, each = r)
  reader_of <- rep(1:r, 2)
  mean_over <- function(same_arm, same_reader) {
    chosen <- (outer(arm_of, arm_of, "==") == same_arm) &
      (outer(reader_of, reader_of, "==") == same_reader)
    if (any(chosen)) mean(covariance[chosen]) else 0
  }
  between <- max(mean_over(TRUE, FALSE) - mean_over(FALSE, FALSE), 0)
  case_df <- if (settings$unit == "patient") units - 1 else Inf
  if (r > 1) {
    gap <- area[, 1] - area[, 2]
    interaction <- sum((gap - mean(gap))^2) / (2 * (r - 1))
    denominator <- interaction + r * between
    df <- denominator^2 / (interaction^2 / (r - 1) + (r * between)^2 / case_df)
  } else {
    denominator <- mean_over(TRUE, TRUE) - mean_over(FALSE, TRUE)
    df <- case_df
  }
  difference <- mean(area[, 1]) - mean(area[, 2])
  error <- sqrt(2 / r * denominator)
  upper <- function(value) pt((difference - value) / error, df, lower.tail = FALSE)
  margin <- settings$margin
  p <- switch(settings$goal,
    noninferiority = upper(-margin),
    equivalence = max(upper(-margin), 1 - upper(margin)),
    if (one_sided) upper(margin) else 2 * min(upper(0), 1 - upper(0))
  )
  tail <- if (settings$goal == "superiority" && !one_sided) alpha / 2 else alpha
  half <- qt(1 - tail, df) * error
  c(
    estimate = difference, p_value = p, low = max(-1, difference - half),
    high = if (one_sided) 1 else min(1, difference + half)
  )
}

analyses <- list(
  exact_binomial = exact_binomial, sign_flip = sign_flip, gee = gee, auc = auc,
  auc_difference = auc_difference
)
if (is.na(expected[["p_value"]])) {
  cat("DeepMiner found this analysis not estimable; there is nothing to compare.\n")
  quit(status = 0)
}
found <- analyses[[settings$primary]]()
comparable <- !is.na(found) & !is.na(expected[names(found)])
agrees <- abs(found - expected[names(found)]) < 1e-6
cat("quantity,R,DeepMiner,agrees\n")
for (name in names(found)[comparable]) {
  cat(sprintf("%s,%.10g,%.10g,%s\n", name, found[[name]], expected[[name]], agrees[[name]]))
}
cat("all agree:", all(agrees[comparable]), "\n")
