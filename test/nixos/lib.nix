# The little of nixpkgs' lib that our module uses, for evaluating it where nixpkgs is not to be had: the same names, the same
# meaning, as far as that goes. evalModules merges definitions of one module each: attribute sets by name, lists one after the other.
let
  inherit (builtins) all attrNames concatLists elem filter foldl' hasAttr head isAttrs isBool isFunction isInt isList isPath isString length listToAttrs map
    mapAttrs removeAttrs stringLength substring tail;
in
rec {
  inherit mapAttrs;
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  nameValuePair = name: value: { inherit name value; };
  filterAttrs = keep: set: listToAttrs (concatLists (mapAttrsToList (name: value: if keep name value then [ (nameValuePair name value) ] else [ ]) set));
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  removePrefix = prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (stringLength text) text else text;
  recursiveUpdate = old: new:
    if isAttrs old && isAttrs new then old // mapAttrs (name: value: if old ? ${name} then recursiveUpdate old.${name} value else value) new else new;
  cleanSource = path: path;
  licenses.asl20 = "Apache-2.0";
  platforms.linux = [ "linux" ];

  mkOption = option: option // { _type = "option"; };
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkDefault = content: { _type = "default"; inherit content; };

  # A type turns the definitions of an option into its value, or says what is wrong with them.
  types =
    let
      checked = name: check: {
        inherit name check;
        merge = path: definitions:
          let value = head definitions; in
          if length definitions != 1 then throw "${path}: defined ${toString (length definitions)} times"
          else if check value then value
          else throw "${path}: not of type ${name}";
      };
    in
    rec {
      bool = checked "bool" isBool;
      int = checked "int" isInt;
      str = checked "str" isString;
      path = checked "path" (value: isPath value || isString value && hasPrefix "/" value);
      package = checked "package" isAttrs;
      anything = { check = _: true; merge = _: mergeAnything; };
      enum = values: checked "enum" (value: elem value values);
      nullOr = type: {
        check = value: value == null || type.check value;
        merge = path: definitions: if all (d: d == null) definitions then null else type.merge path (filter (d: d != null) definitions);
      };
      listOf = type: {
        check = isList;
        merge = path: definitions:
          if all isList definitions then map (value: type.merge "${path}.*" [ value ]) (concatLists definitions)
          else throw "${path}: not a list";
      };
      attrsOf = type: {
        check = isAttrs;
        merge = path: definitions:
          if all isAttrs definitions then mapAttrs (name: values: (named name type).merge "${path}.${name}" values) (zip definitions)
          else throw "${path}: not an attribute set";
      };
      coercedTo = from: convert: type: {
        inherit (type) check;
        merge = path: definitions: type.merge path (map (value: if from.check value then convert value else value) definitions);
      };
      submodule = module: {
        check = isAttrs;
        inherit module;
        merge = path: definitions: mergeSubmodule "" module path definitions;
      };
    };

  # What attrsOf tells a submodule: its name. It reaches through coercions as well.
  named = name: type: if type ? module then type // { merge = mergeSubmodule name type.module; } else type;

  mergeSubmodule = name: module: path: definitions:
    if !all isAttrs definitions then throw "${path}: not an attribute set"
    else
      let
        options = (if isFunction module then module { inherit name; config = value; } else module).options;
        value = evalOptions path options definitions;
      in
      value;

  isOption = value: isAttrs value && value._type or "" == "option";

  zip = sets: listToAttrs (map (name: nameValuePair name (map (set: set.${name}) (filter (hasAttr name) sets))) (concatLists (map attrNames sets)));

  # Definitions as they count: those under a false condition don't, defaults only where nothing else is.
  counting = definitions:
    let
      open = d: if isAttrs d && d._type or "" == "if" then (if d.condition then open d.content else [ ]) else [ d ];
      all' = concatLists (map open definitions);
      isDefault = d: isAttrs d && d._type or "" == "default";
      given = filter (d: !isDefault d) all';
    in
    if given != [ ] then given else map (d: d.content) all';

  # A condition goes inwards to what it is about, so that it may depend on other options.
  pushDown = d:
    if isAttrs d && d._type or "" == "if" then mapAttrs (_: content: mkIf d.condition content) (pushDown d.content) else d;

  evalOptions = path: options: definitions:
    let
      defined = zip (map pushDown definitions);
      unknown = filter (name: !hasAttr name options) (attrNames defined);
      eval = name: option:
        let
          at = if path == "" then name else "${path}.${name}";
          values = counting (defined.${name} or [ ]);
        in
        if !isOption option then evalOptions at option (defined.${name} or [ ])
        else if values != [ ] then option.type.merge at values
        else if option ? default then (if isAttrs option.default && option.type ? module || isList option.default || isAttrs option.default then option.type.merge at [ option.default ] else option.default)
        else throw "${at}: not given";
    in
    if unknown != [ ] then throw "${path}.${head unknown}: there is no such option" else mapAttrs eval options;

  mergeAnything = definitions:
    let values = counting definitions; in
    if values == [ ] then { }
    else if all isAttrs values && all (v: !(v ? outPath)) values then mapAttrs (_: mergeAnything) (zip values)
    else if all isList values then concatLists values
    else if length values == 1 then head values
    else throw "defined ${toString (length values)} times";

  # The module system, for modules that import one another by path and take config, lib and pkgs.
  evalModules = { modules, specialArgs }:
    let
      open = module:
        let
          opened = if isFunction module then module ({ inherit config; } // specialArgs) else if isPath module then import module else module;
          body = if isFunction opened then opened ({ inherit config; } // specialArgs) else opened;
        in
        concatLists (map open (body.imports or [ ])) ++ [ body ];
      bodies = concatLists (map open modules);
      options = foldl' recursiveUpdate { } (map (body: body.options or { }) bodies);
      config = evalOptions "" options (map (body: body.config or (removeAttrs body [ "imports" "options" ])) bodies);
    in
    { inherit config options; };
}
